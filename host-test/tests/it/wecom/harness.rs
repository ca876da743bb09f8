//! A simulated WeCom, a gateway with the component of WeCom, and its webhooks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_host::account::{AccountOptions, Handle, Phase, Setup};
use gateway_host::agent::Agent;
use gateway_host::clock::Clock;
use gateway_host::gateway::Gateway;
use gateway_host::instance::Instance;
use gateway_host::media::MediaRules;
use gateway_host::runtime::{Plugin, Runtime};
use gateway_host::state::State;
use gateway_host::state::memory::MemoryState;
use gateway_host::webhooks;
use gateway_simulator::wecom::{SealedCallback, WecomOptions, WecomSimulator};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::task::JoinHandle;

use crate::harness::{component_wecom, eventually, runner};

pub const ACCOUNT: &str = "ww1";

/// How long a condition may take to come true: far longer than it does.
const PATIENCE: Duration = Duration::from_secs(120);

/// A corp whose app is an account.
pub struct Corp {
    pub wecom: WecomSimulator,
    pub clock: Clock,
    pub state: Arc<dyn State>,
    pub runtime: Runtime,
    pub plugin: Plugin,
    pub media: MediaRules,
}

/// The account at work, and where its callbacks go.
pub struct Served {
    _gateway: Gateway,
    pub account: Handle,
    pub url: String,
    serving: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Corp {
    pub async fn new() -> Corp {
        let clock = Clock::new();
        let options = WecomOptions {
            clock: clock.clone(),
            ..WecomOptions::default()
        };
        let runtime = Runtime::new(clock.clone()).unwrap();
        let plugin = runtime.load(&component_wecom()).await.unwrap();
        Corp {
            wecom: WecomSimulator::start(options).await.unwrap(),
            clock,
            state: Arc::new(MemoryState::default()),
            runtime,
            plugin,
            media: MediaRules::default(),
        }
    }

    fn options(&self, config: &[(&str, &str)]) -> AccountOptions {
        let (agent_id, base_url) = (self.wecom.agent_id().to_string(), self.wecom.base_url());
        let config = [
            ("corp-id", self.wecom.corp_id()),
            ("agent-id", &agent_id),
            ("token", self.wecom.token()),
            ("encoding-aes-key", self.wecom.encoding_aes_key()),
            ("api-base-url", &base_url),
            ("send-interval-ms", "0"),
        ]
        .iter()
        .chain(config)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
        let secret = self.wecom.secret().to_owned();
        AccountOptions {
            id: ACCOUNT.to_owned(),
            secrets: BTreeMap::from([("corp-secret".to_owned(), secret)]),
            config,
            media: self.media.clone(),
        }
    }

    /// The account in a gateway whose URL the corp has verified.
    pub async fn serve(&self, agent: Arc<dyn Agent>, config: &[(&str, &str)]) -> Served {
        let state = Arc::clone(&self.state);
        let gateway = Gateway::new(&self.runtime, state);
        gateway.install(self.plugin.clone());
        let account = gateway.add("wecom", self.options(config), agent).await;
        let account = account.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(webhooks::serve(listener, gateway.clone()));
        let url = format!("http://{address}/webhook/{ACCOUNT}");
        self.wecom.verify(&url).await.unwrap();
        Served {
            _gateway: gateway,
            account,
            url,
            serving,
        }
    }

    /// An instance that nobody serves yet.
    pub async fn instance(&self, config: &[(&str, &str)]) -> Instance {
        let state = Arc::clone(&self.state);
        let setup = Setup::new(&self.runtime, &self.plugin, state, self.options(config));
        setup.unwrap().instance().await.unwrap()
    }

    /// The runner with the account, whose URL the corp has verified.
    pub async fn run(&self, state: &str, agent: &str, variables: &[(&str, &str)]) -> Child {
        let mut command = runner(&["run", "--log-format", "json", "--component"]);
        let mut child = command
            .arg(component_wecom())
            .args(["--state", state, "--agent", agent])
            .args(["--webhooks", "127.0.0.1:0"])
            .env("WECOM_CORP_ID", self.wecom.corp_id())
            .env("WECOM_AGENT_ID", self.wecom.agent_id().to_string())
            .env("WECOM_SECRET", self.wecom.secret())
            .env("WECOM_TOKEN", self.wecom.token())
            .env("WECOM_ENCODING_AES_KEY", self.wecom.encoding_aes_key())
            .env("WECOM_API_BASE_URL", self.wecom.base_url())
            .env("WECOM_SEND_INTERVAL_MS", "0")
            .envs(variables.iter().copied())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().unwrap();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "webhooks are listened for" {
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let url = format!("http://{address}/webhook/{}", self.wecom.corp_id());
        eventually(async || self.wecom.verify(&url).await.is_ok()).await;
        child
    }

    /// The XML of a text.
    pub fn text(&self, user: &str, id: u64, text: &str) -> String {
        let elements = format!(
            "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{text}]]></Content>\
             <MsgId>{id}</MsgId>"
        );
        self.around(user, &elements)
    }

    /// The XML of anything.
    pub fn around(&self, user: &str, elements: &str) -> String {
        format!(
            "<xml><ToUserName>{}</ToUserName><FromUserName>{user}</FromUserName>\
             <CreateTime>{}</CreateTime>{elements}<AgentID>{}</AgentID></xml>",
            self.wecom.corp_id(),
            self.clock.unix_ms() / 1000,
            self.wecom.agent_id()
        )
    }

    /// Waits until the app answered a person so.
    pub async fn answered(&self, user: &str, answers: &[&str]) {
        self.until(|wecom| wecom.answers(user) == answers).await;
    }

    pub async fn until(&self, what: impl FnMut(&WecomSimulator) -> bool) {
        let waiting = self.wecom.wait_for(what);
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            for line in self.wecom.log().iter().rev().take(20).rev() {
                eprintln!("{line}");
            }
            for line in self.wecom.deliveries().iter().rev().take(20).rev() {
                eprintln!("{line}");
            }
            eprintln!("{:?}", self.wecom.counters());
            panic!("the condition did not come true");
        }
    }

    /// Fails when the client did anything that it must not do.
    pub fn check(&self) {
        assert_eq!(self.wecom.violations(), Vec::<String>::new());
    }
}

impl Served {
    pub async fn phase(&self) -> Phase {
        self.account.status().await.phase
    }

    pub async fn connected(&self) {
        eventually(async || self.phase().await == Phase::Connected).await;
    }

    /// Posts a callback; returns status and body.
    pub async fn post(&self, post: &SealedCallback) -> (u16, Bytes) {
        ask(Method::POST, &self.url, &post.query, &post.body).await
    }
}

/// Posts to an instance itself; returns status and body.
pub async fn posted(instance: &Instance, post: &SealedCallback) -> (u16, Bytes) {
    let request = Request::post(format!("/webhook/{ACCOUNT}?{}", post.query));
    let request = request.body(Full::from(post.body.clone())).unwrap();
    let answer = instance.handle(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap();
    (status, body.to_bytes())
}

/// Asks as the platform does; returns status and body.
pub async fn ask(method: Method, url: &str, query: &str, body: &str) -> (u16, Bytes) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::builder()
        .method(method)
        .uri(format!("{url}?{query}"))
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let answer = client.request(request).await.unwrap();
    let status = answer.status().as_u16();
    (
        status,
        answer.into_body().collect().await.unwrap().to_bytes(),
    )
}
