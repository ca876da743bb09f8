//! Tenants share nothing: a login touches its own account, whatever its server says, and what belongs
//! to one platform meets no component of another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as InState;
use axum::routing::{get, post};
use gateway_host::account::{Account, AccountOptions, StartError};
use gateway_host::agent::EchoAgent;
use gateway_host::credentials::{Brought, Credential, Credentials, Holder, Home};
use gateway_host::gateway::Gateway;
use gateway_host::login::{Login, Logins, Step};
use gateway_host::media::MediaRules;
use gateway_host::state::StateSpec;
use serde_json::{Value, json};

use crate::harness::{Harness, component, component_wecom, runner};
use crate::redis_server::{self, RedisServer};

/// A tenant's own server, which answers as the test wants.
struct Server {
    url: String,
    shared: Arc<Mutex<LoginScript>>,
}

#[derive(Default)]
struct LoginScript {
    /// What a confirmed login gets.
    answer: Value,
    /// Tokens that clients said to have.
    received_tokens: Vec<String>,
}

type Shared = InState<Arc<Mutex<LoginScript>>>;

async fn code(InState(shared): Shared, body: Bytes) -> String {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let received_tokens = body["local_token_list"].as_array().into_iter().flatten();
    let received_tokens =
        received_tokens.map(|token| token.as_str().unwrap_or_default().to_owned());
    shared
        .lock()
        .unwrap()
        .received_tokens
        .extend(received_tokens);
    json!({"qrcode": "code", "qrcode_img_content": "https://example.com/q"}).to_string()
}

async fn status(InState(shared): Shared) -> String {
    shared.lock().unwrap().answer.to_string()
}

impl Server {
    async fn start() -> Server {
        let shared = Arc::<Mutex<LoginScript>>::default();
        let routes = Router::new()
            .route("/ilink/bot/get_bot_qrcode", post(code))
            .route("/ilink/bot/get_qrcode_status", get(status))
            .with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Server { url, shared }
    }

    fn says(&self, answer: Value) {
        self.shared.lock().unwrap().answer = answer;
    }

    fn confirms(&self, bot: &str, person: &str, token: &str) {
        self.says(json!({
            "status": "confirmed",
            "bot_token": token,
            "ilink_bot_id": bot,
            "ilink_user_id": person,
            "baseurl": self.url,
        }));
    }

    fn received_tokens(&self) -> Vec<String> {
        self.shared.lock().unwrap().received_tokens.clone()
    }

    fn home(&self) -> Home {
        Home::at("weixin", [self.url.as_str()])
    }
}

fn brought(bot: &str, person: &str, token: &str) -> Brought {
    Brought {
        bot: bot.to_owned(),
        secrets: BTreeMap::from([("bot-token".to_owned(), token.to_owned())]),
        owner: Some(person.to_owned()),
        config: BTreeMap::new(),
        saved_ms: 1,
    }
}

/// A gateway in which one account, called `a`, has a server of its own, beside what others have.
struct TenantGateway {
    _harness: Harness,
    gateway: Gateway,
    server: Server,
    credentials: Credentials,
}

impl TenantGateway {
    async fn new(spec: &StateSpec) -> TenantGateway {
        let harness = Harness::new().await;
        let credentials = Credentials::of(spec);
        let state = Arc::clone(&harness.state);
        let gateway = Gateway::with_credentials(&harness.runtime, state, credentials.clone());
        gateway.install(harness.plugin.clone());
        let server = Server::start().await;
        let options = AccountOptions {
            id: "a".to_owned(),
            secrets: BTreeMap::from([("bot-token".to_owned(), "a-in-use".to_owned())]),
            config: BTreeMap::from([("base-url".to_owned(), server.url.clone())]),
            media: MediaRules::default(),
        };
        let agent = Arc::new(EchoAgent);
        gateway.add("weixin", options, agent).await.unwrap();
        // Tenants with servers of their own, with the same one, and the operator.
        let platform = Home::at("weixin", []);
        let here = server.home();
        for (holder, home, bot) in [
            (Holder::Account("b".to_owned()), &platform, "b-bot"),
            (Holder::Account("c".to_owned()), &here, "c-bot"),
            (Holder::Account("a".to_owned()), &platform, "a-before"),
            (Holder::Operator(None), &here, "own-bot"),
            (
                Holder::Operator(Some("named".to_owned())),
                &platform,
                "n-bot",
            ),
        ] {
            let token = format!("{bot}-token");
            let brought = brought(bot, "carol", &token);
            let in_use = [format!("{bot}-before")];
            credentials.keep(&holder, home, &brought, &in_use).unwrap();
        }
        TenantGateway {
            _harness: harness,
            gateway,
            server,
            credentials,
        }
    }

    /// Of the operator, who logs in there without an account.
    fn own_logins(&self) -> Logins {
        Logins {
            holder: Holder::Operator(None),
            in_use: BTreeMap::new(),
            ..self.logins()
        }
    }

    fn logins(&self) -> Logins {
        Logins::of(&self.gateway.account("a").unwrap(), &self.credentials)
    }

    /// All that is stored, but the one record that may change.
    fn of_others(&self, account: &str, is_own: bool) -> Vec<Credential> {
        let mut all = self.credentials.all().unwrap();
        let here = self.server.home();
        all.retain(|other| {
            let is_here = other.origin.as_ref() == Some(&here.origin);
            !(is_here && other.account == account && other.is_own == is_own)
        });
        all
    }

    async fn login(&self, logins: &Logins) -> Step {
        let (login, step) = Login::begin(logins).await.unwrap();
        assert!(matches!(step, Step::ShowQr { .. }), "{step:?}");
        login.next().await.unwrap()
    }
}

async fn attacked(spec: &StateSpec) {
    let tenants = TenantGateway::new(spec).await;
    let (credentials, server) = (&tenants.credentials, &tenants.server);
    let here = server.home();
    let others = tenants.of_others("a", false);
    assert_eq!(others.len(), 5);
    let bots = [
        "b",
        "b-bot",
        "c",
        "own-bot",
        "named",
        "a",
        "x y\u{301}",
        "../../x",
    ];
    let persons = ["carol", "b", ""];
    let tokens = ["evil", "b-bot-token", "c-bot-before"];
    for (number, bot) in bots.iter().enumerate() {
        let person = persons[number % persons.len()];
        let token = tokens[number % tokens.len()];
        server.confirms(bot, person, token);
        let step = tenants.login(&tenants.logins()).await;
        let done = Step::Done {
            account: "a".to_owned(),
        };
        assert_eq!(step, done, "{bot}");
        assert_eq!(tenants.of_others("a", false), others, "{bot}");
        let mine = credentials.find("a", &here).unwrap().unwrap();
        assert_eq!(mine.secrets["bot-token"], token);
        assert_eq!(mine.bot.as_deref(), Some(*bot));
    }
    // Nobody else's tokens are of no use, and nobody else's were told to the server.
    for (account, home, token) in [
        ("b", Home::at("weixin", []), "b-bot-token"),
        ("c", here.clone(), "c-bot-token"),
        ("a", Home::at("weixin", []), "a-before-token"),
        ("own-bot", here.clone(), "own-bot-token"),
    ] {
        assert!(!credentials.is_replaced(account, &home, token).unwrap());
        assert!(credentials.find(account, &home).unwrap().is_some());
    }
    assert!(credentials.is_replaced("a", &here, "a-in-use").unwrap());
    assert!(!credentials.is_replaced("b", &here, "a-in-use").unwrap());
    let received_tokens = server.received_tokens();
    assert_eq!(received_tokens[0], "a-in-use");
    let mine = ["a-in-use", "evil", "b-bot-token", "c-bot-before"];
    assert!(
        received_tokens
            .iter()
            .all(|token| mine.contains(&token.as_str())),
        "{received_tokens:?}"
    );
}

#[tokio::test]
async fn a_server_that_answers_with_others_ids_touches_the_one_who_asked() {
    let folder = tempfile::tempdir().unwrap();
    attacked(&StateSpec::Directory(folder.path().join("state"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_with_others_ids_touches_the_one_who_asked_on_redis() {
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    attacked(&server.url().parse().unwrap()).await;
}

#[tokio::test]
async fn a_login_without_an_account_touches_the_operators_own_and_conflicts_are_told() {
    let tenants = TenantGateway::new(&StateSpec::Memory).await;
    let (credentials, server) = (&tenants.credentials, &tenants.server);
    let here = server.home();
    let before = credentials.all().unwrap();
    for (bot, whose) in [
        ("b", "a configured account has"),
        ("c", "a configured account has"),
        ("a", "a configured account has"),
        ("named", "a login at platform has"),
    ] {
        server.confirms(bot, "carol", "evil");
        let Step::Failed { reason } = tenants.login(&tenants.own_logins()).await else {
            panic!("{bot} is somebody else's");
        };
        assert!(reason.contains(whose), "{reason}");
        assert!(reason.contains("nothing is changed"), "{reason}");
        assert_eq!(credentials.all().unwrap(), before, "{bot}");
    }
    // Its own server is told its own values of that server.
    assert!(
        server
            .received_tokens()
            .iter()
            .all(|token| token == "own-bot-token")
    );
    // The same person has one credential there, and others have what they had.
    server.confirms("own-2", "carol", "own-2-token");
    let done = tenants.login(&tenants.own_logins()).await;
    assert!(matches!(done, Step::Done { account } if account == "own-2"));
    assert_eq!(credentials.find("own-bot", &here).unwrap(), None);
    assert!(
        credentials
            .is_replaced("own-bot", &here, "own-bot-token")
            .unwrap()
    );
    let all = credentials.all().unwrap();
    assert_eq!(all.len(), before.len());
    let kept = before.iter().filter(|other| other.account != "own-bot");
    assert!(kept.clone().all(|other| all.contains(other)));
    assert_eq!(kept.count(), 4);

    // What is no id, and no place of the platform, is not kept.
    let before = credentials.all().unwrap();
    for (bot, person) in [
        ("x\ny", "p"),
        ("x\u{202e}y", "p"),
        (&*"x".repeat(257), "p"),
        (&*"x".repeat(1025), "p"),
        ("x", "p\u{0}"),
        ("x", "\u{2066}p"),
    ] {
        server.confirms(bot, person, "evil");
        let step = tenants.login(&tenants.own_logins()).await;
        assert!(matches!(step, Step::Failed { .. }), "{step:?}");
    }
    server.says(json!({
        "status": "confirmed", "bot_token": "evil", "ilink_bot_id": "x",
        "ilink_user_id": "p", "baseurl": "http://169.254.169.254",
    }));
    let step = tenants.login(&tenants.own_logins()).await;
    assert!(matches!(step, Step::Failed { .. }), "{step:?}");
    assert_eq!(credentials.all().unwrap(), before);
}

#[tokio::test]
async fn a_conflict_is_exit_1_and_words_and_the_file_stays_as_it_was() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let credentials = Credentials::of(&StateSpec::Directory(state.clone()));
    let victim = Holder::Account("victim".to_owned());
    let brought = brought("v", "carol", "v-token");
    let platform = Home::at("weixin", []);
    credentials.keep(&victim, &platform, &brought, &[]).unwrap();
    let file = state.join("credentials.json");
    let before = std::fs::read(&file).unwrap();
    server.confirms("victim", "carol", "evil");
    let output = runner(&["login", "--component"])
        .arg(component())
        .args(["--state", &format!("dir:{}", state.display())])
        .env("WEIXIN_BASE_URL", &server.url)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("a configured account has"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(server.received_tokens(), [""; 0]);
}

#[tokio::test]
async fn a_component_of_another_platform_gets_no_account_of_this_one() {
    let hostile = Path::new(env!("HOSTILE"));
    let wecom = component_wecom();
    for (command, other) in [("run", hostile), ("login", hostile), ("login", &wecom)] {
        let output = runner(&[command, "--component"])
            .arg(other)
            .args(["--state", &format!("dir:{}", env!("CARGO_TARGET_TMPDIR"))])
            .env("WEIXIN_TOKEN", "c4nary")
            .env("WEIXIN_ACCOUNT_ID", "bot@im.bot")
            .env("WEIXIN_BASE_URL", "http://127.0.0.1:1")
            .output()
            .await
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}: {errors}");
        assert!(errors.contains("it is for the platform"), "{errors}");
        let line = errors.trim_end().lines().last().unwrap_or_default();
        assert!(line.starts_with("component "), "{errors}");
        assert!(!errors.contains("c4nary"), "{errors}");
    }
}

#[tokio::test]
async fn a_store_and_an_id_belong_to_one_platform() {
    let harness = Harness::new().await;
    let gateway = harness.gateway();
    let agent = Arc::new(EchoAgent);
    let account = gateway.add("weixin", harness.options(&[]), agent).await;
    let id = account.unwrap().id().to_owned();
    let hostile = harness
        .runtime
        .load(Path::new(env!("HOSTILE")))
        .await
        .unwrap();
    let platform = hostile.platform().to_owned();
    assert!(gateway.install(hostile.clone()));
    let options = || AccountOptions {
        secrets: BTreeMap::new(),
        ..harness.options(&[])
    };
    // The one that runs stays.
    let refused = gateway.add(&platform, options(), Arc::new(EchoAgent)).await;
    let error = refused.err().unwrap();
    assert!(matches!(error, StartError::Invalid(_)), "{error}");
    assert!(error.to_string().contains("another id"), "{error}");
    assert!(gateway.account(&id).is_some());
    gateway.stop().await;
    // What it stored is not opened either.
    let refused = gateway.add(&platform, options(), Arc::new(EchoAgent)).await;
    let error = refused.err().unwrap();
    assert!(matches!(error, StartError::Invalid(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("belongs to the platform \"weixin\""),
        "{error}"
    );
    let state = Arc::clone(&harness.state);
    let refused = Account::start(
        &harness.runtime,
        &hostile,
        state,
        Arc::new(EchoAgent),
        options(),
    )
    .await;
    assert!(matches!(refused.err(), Some(StartError::Invalid(_))));
    // Its own is, again and again.
    gateway
        .add("weixin", harness.options(&[]), Arc::new(EchoAgent))
        .await
        .unwrap();
    gateway.stop().await;
    harness.check();
}
