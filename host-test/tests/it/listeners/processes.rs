//! The servers of the runner's own process.

use super::*;

/// The lines of a runner's log, as they come.
struct Log {
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
}

impl Log {
    fn of(child: &mut Child) -> Log {
        Log {
            lines: BufReader::new(child.stderr.take().unwrap()).lines(),
        }
    }

    /// Waits for a line with this message; returns it, and the warnings before it.
    async fn until(&mut self, message: &str) -> (Value, Vec<String>) {
        let mut warnings = Vec::new();
        loop {
            let line = self.lines.next_line().await.unwrap().expect("it says so");
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == message {
                return (line, warnings);
            }
            if line["level"] == "WARN" {
                warnings.push(line["message"].as_str().unwrap().to_owned());
            }
        }
    }

    /// Reads on, so that the runner can write.
    fn drain(mut self) {
        tokio::spawn(async move { while let Ok(Some(_)) = self.lines.next_line().await {} });
    }
}

fn address(line: &Value) -> String {
    line["address"].as_str().unwrap().to_owned()
}

/// The runner with both of its servers.
fn both_servers(simulator: &Simulator, host: &str) -> Command {
    let mut command = runner_of(simulator, "memory", "echo");
    command
        .args(["--log-format", "json"])
        .args(["--admin", &format!("{host}:0")])
        .args(["--webhooks", &format!("{host}:0")])
        .env("HOST_ADMIN_TOKEN", TOKEN);
    command
}

#[tokio::test]
async fn hostile_connections_end_no_server_of_the_runner() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let mut child = both_servers(&simulator, "127.0.0.1").spawn().unwrap();
    let mut log = Log::of(&mut child);
    let admin = address(&log.until("the operator's API listens").await.0);
    let webhooks = address(&log.until("webhooks are listened for").await.0);
    log.drain();
    let post = "POST /webhook/x HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";
    let asks = "GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20);
    let mut hostile = Vec::new();
    for number in 0..600 {
        let begun = ["", "GET /hea", "GET /healthz HTTP/1.1\r\nx: ", post, &asks][number % 5];
        for server in [&admin, &webhooks] {
            if let Ok(mut stream) = TcpStream::connect(server).await {
                // It may be closed already, to make room for the next.
                let _ = stream.write_all(begun.as_bytes()).await;
                hostile.push(stream);
            }
        }
        if number % 100 == 99 {
            let health = Endpoint::new("admin", &format!("http://{admin}"), "GET", "/healthz");
            let health = async || health.ask("host: localhost\r\n").await == Some(200);
            eventually(health).await;
            let hook = Endpoint::new(
                "webhooks",
                &format!("http://{webhooks}"),
                "GET",
                "/webhook/x",
            );
            eventually(async || hook.ask("host: x\r\n").await == Some(403)).await;
        }
    }
    simulator.say(ALICE, "hello");
    until(&simulator, |simulator| {
        simulator.answers(ALICE) == ["hello"]
    })
    .await;
    drop(hostile);
    signal(&child, Signal::TERM);
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn the_simulator_alone_takes_the_token_that_it_prints() {
    for (preset, listen, warns) in [
        (None, "127.0.0.1:0", false),
        (Some("my-own-token"), "0.0.0.0:0", true),
    ] {
        let mut command = runner(&["simulator", "--log-format", "json", "--listen", listen]);
        command.args(["--allow-host", "sim"]);
        if let Some(preset) = preset {
            command.env("WEIXIN_SIM_TOKEN", preset);
        }
        let mut server = command.spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut printed = Vec::new();
        for _ in 0..5 {
            printed.push(lines.next_line().await.unwrap().unwrap());
        }
        let url = printed[0].strip_prefix("WEIXIN_BASE_URL=").unwrap();
        let token = printed[4].strip_prefix("WEIXIN_SIM_TOKEN=").unwrap();
        assert!(preset.is_none_or(|preset| preset == token), "{token}");
        assert!(token.len() >= 12);
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        let messages = Endpoint::new("control", url, "GET", "/sim/messages");
        assert_eq!(messages.ask("host: localhost\r\n").await, Some(401));
        let messages = messages.with_token(token);
        assert_eq!(messages.ask("host: localhost\r\n").await, Some(200));
        assert_eq!(messages.ask("host: sim:8000\r\n").await, Some(200));
        assert_eq!(messages.ask("host: rebound.example\r\n").await, Some(403));
        signal(&server, Signal::TERM);
        let output = server.wait_with_output().await.unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(log.contains("open to other machines"), warns, "{log}");
        assert!(!log.contains(token), "{log}");
    }
}

#[tokio::test]
async fn an_api_that_others_can_reach_is_warned_of_or_has_tls() {
    const WARNING: &str = "open to other machines without TLS";
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    for (host, has_tls, warns) in [
        ("0.0.0.0", false, true),
        ("127.0.0.1", false, false),
        ("0.0.0.0", true, false),
    ] {
        let mut command = both_servers(&simulator, host);
        if has_tls {
            command.arg("--tls-cert").arg(&cert);
            command.arg("--tls-key").arg(&key);
        }
        let mut child = command.spawn().unwrap();
        let mut log = Log::of(&mut child);
        let (line, _) = log.until("the operator's API listens").await;
        let admin = address(&line).replace("0.0.0.0", "127.0.0.1");
        let (line, warnings) = log.until("webhooks are listened for").await;
        let webhooks = address(&line).replace("0.0.0.0", "127.0.0.1");
        let found = warnings.iter().filter(|line| line.contains(WARNING));
        assert_eq!(found.count(), usize::from(warns), "{warnings:?}");
        let (line, _) = log.until("started").await;
        assert_eq!(line["account"], simulator.account_id());
        log.drain();
        let accounts = format!(
            "GET /accounts HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
             connection: close\r\n\r\n"
        );
        let hook = "GET /webhook/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        for (server, request, expect) in [(&admin, &*accounts, 200), (&webhooks, hook, 403)] {
            let plain = status(&raw(server, request).await);
            assert_eq!(plain, (!has_tls).then_some(expect), "{server}");
            if has_tls {
                assert_eq!(over_tls(server, request, &cert).await, Some(expect));
            }
        }
        signal(&child, Signal::TERM);
        assert!(child.wait().await.unwrap().success());
    }
    let output = both_servers(&simulator, "127.0.0.1")
        .arg("--tls-cert")
        .arg(&cert)
        .arg("--tls-key")
        .arg(&cert)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("--tls-key"), "{line}");
}

async fn over_tls(address: &str, request: &str, cert: &std::path::Path) -> Option<u16> {
    let mut roots = rustls::RootCertStore::empty();
    let trusted = rustls::pki_types::CertificateDer::from_pem_file(cert).unwrap();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    status(&answer)
}
