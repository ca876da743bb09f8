//! A real Redis server for a test: on a port of its own, with its data in a folder of its own, and
//! gone with the value.

#![allow(
    dead_code,
    reason = "the unit tests share it, and each of the two uses a part"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

const INSTALL: &str = "install it with `apt-get install redis-server` or `brew install redis`";

/// Whether a test has to be skipped because this machine has no `redis-server`. The first such test
/// says what to install. Where the variable `CI` is set, nothing is skipped: the test fails.
pub fn is_missing() -> bool {
    static MISSING: LazyLock<bool> = LazyLock::new(|| {
        let found = Command::new("redis-server")
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let missing = found.is_err() && std::env::var_os("CI").is_none();
        if missing {
            // Not by a macro: the test harness would keep the line of a test that passes.
            let _ = writeln!(
                std::io::stderr(),
                "tests of the state on Redis are skipped, because there is no redis-server: {INSTALL}"
            );
        }
        missing
    });
    *MISSING
}

/// A running server.
pub struct RedisServer {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    port: u16,
    tls: bool,
    process: Mutex<Option<Child>>,
}

impl RedisServer {
    /// Starts a server that keeps what it has written when it is killed.
    pub fn start() -> RedisServer {
        // With `everysec` it says yes before it has written, where its disk is slow.
        RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts a server with these options instead.
    pub fn start_with(arguments: &[&str]) -> RedisServer {
        RedisServer::try_often(arguments, false)
    }

    /// Starts a server that speaks TLS alone, with files of a certificate and its key.
    pub fn start_with_tls(certificate: &str, key: &str) -> RedisServer {
        let files = ["--tls-cert-file", certificate, "--tls-key-file", key];
        let nobodys = [
            "--tls-ca-cert-file",
            certificate,
            "--tls-auth-clients",
            "no",
        ];
        RedisServer::try_often(&[files, nobodys].concat(), true)
    }

    fn try_often(arguments: &[&str], tls: bool) -> RedisServer {
        // Between looking for a free port and taking it, somebody else may have.
        for _ in 0..20 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let server = RedisServer {
                folder: tempfile::tempdir().unwrap(),
                arguments: arguments.iter().map(|&one| one.to_owned()).collect(),
                port: free.local_addr().unwrap().port(),
                tls,
                process: Mutex::default(),
            };
            drop(free);
            if server.run() {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As `--state` has it.
    pub fn url(&self) -> String {
        match self.tls {
            true => format!("rediss://localhost:{}", self.port),
            false => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// Ends it as a crash does.
    pub fn kill(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again on the same port and data; false when it does not start.
    pub fn run(&self) -> bool {
        let port = self.port.to_string();
        let (plain, tls) = match self.tls {
            true => ("0", port.as_str()),
            false => (port.as_str(), "0"),
        };
        let mut process = match Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", plain, "--tls-port", tls])
            .args(["--save", ""])
            .args(&self.arguments)
            .arg("--dir")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
        {
            Ok(process) => process,
            Err(error) => {
                panic!("this test needs Redis, and redis-server can't be run ({error}): {INSTALL}")
            }
        };
        let patience = Instant::now() + Duration::from_secs(120);
        while Instant::now() < patience {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            if self.answers() {
                *self.process.lock().unwrap() = Some(process);
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        false
    }

    /// Whether it answers, if only that it wants a password; with TLS, whether it listens.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<[u8; 2]> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            if self.tls {
                return Ok([0; 2]);
            }
            stream.write_all(b"PING\r\n")?;
            let mut first = [0; 2];
            stream.read_exact(&mut first)?;
            Ok(first)
        };
        // -LOADING is no answer yet.
        ask().is_ok_and(|first| first != *b"-L")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let process = self.process.lock().unwrap();
        let id = i32::try_from(process.as_ref().unwrap().id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Asks it something, as redis-cli would.
    pub fn ask(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name).arg(arguments).query(&mut connection)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
