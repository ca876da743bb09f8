//! What the variables of the environment mean, for help and for the reference. The settings of accounts
//! are described by the components' own schemas.

use serde_json::Value;

use super::setting::{Kind, Settings};
use super::{wecom, weixin};

/// A variable.
pub(super) struct Variable {
    /// Its name, or those of several that belong together.
    pub name: String,
    /// A sentence or two.
    pub meaning: String,
    /// What it may hold.
    pub values: String,
    /// What holds without it; may be empty.
    pub default: String,
}

impl Variable {
    fn new(name: &str, meaning: &str, values: &str, default: &str) -> Variable {
        Variable {
            name: name.to_owned(),
            meaning: meaning.to_owned(),
            values: values.to_owned(),
            default: default.to_owned(),
        }
    }
}

/// Those that name an account of WeChat, and its settings.
pub(super) fn of_weixin() -> Vec<Variable> {
    let mut variables = vec![
        Variable::new(
            "WEIXIN_TOKEN",
            "The token of the bot. It needs WEIXIN_ACCOUNT_ID, and holds until a login replaces it. The \
             component never has it.",
            "token",
            "",
        ),
        Variable::new(
            "WEIXIN_ACCOUNT_ID",
            "The id of the bot, such as b0f5860fdecb@im.bot. Without WEIXIN_TOKEN it names a stored \
             login.",
            "id",
            "that of the last login",
        ),
    ];
    variables.extend(of_settings(&weixin::SETTINGS));
    variables
}

/// Those that name an app of WeCom, and its settings.
pub(super) fn of_wecom() -> Vec<Variable> {
    let settings = &wecom::SETTINGS;
    let schema = schema(settings);
    let identity = wecom::IDENTITY.iter().map(|(key, kind, _)| Variable {
        name: settings.variable(key),
        ..described(&schema, key, kind)
    });
    let mut variables: Vec<Variable> = identity.collect();
    variables.push(Variable::new(
        "WECOM_SECRET",
        "The Secret of the app. The component never has it.",
        "token",
        "",
    ));
    variables.extend(of_settings(settings));
    variables
}

/// The others.
pub(super) fn others() -> Vec<Variable> {
    vec![
        Variable::new(
            "HOST_ADMIN_TOKEN",
            "The token of the operator's API. --admin needs it.",
            "token",
            "",
        ),
        Variable::new(
            "OPENAI_MODEL",
            "The model of an openai: agent, which needs it.",
            "text",
            "",
        ),
        Variable::new(
            "OPENAI_API_KEY",
            "The key of the server of an openai: agent.",
            "token",
            "",
        ),
        Variable::new(
            "WEIXIN_SIM_TOKEN",
            "The token of the control paths of the simulated server.",
            "token",
            "a random one",
        ),
        Variable::new(
            "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY",
            "The proxy on the way to the platforms' servers, with user and password if it wants them. \
             Agents and addresses of this machine are reached directly.",
            "http://…, https://… or socks5://…",
            "",
        ),
        Variable::new(
            "NO_PROXY",
            "Hosts that are reached without the proxy. A warning names an entry that is not understood, \
             which is left out.",
            "hosts, separated by commas",
            "",
        ),
        Variable::new(
            "SSL_CERT_FILE, SSL_CERT_DIR",
            "Certificate authorities that are trusted in place of the system's. A warning names what \
             can't be read.",
            "PEM file, directory of PEM files",
            "those of the system",
        ),
        Variable::new(
            "RUST_LOG",
            "The level of the log.",
            "error, warn, info, debug or trace",
            "info; warn at the prompt",
        ),
    ]
}

/// All of them as the end of a help page: a line for each name, and what it means below.
pub(super) fn help() -> String {
    let mut text = "Variables:\n".to_owned();
    let all = [of_weixin(), of_wecom(), others()];
    for variable in all.into_iter().flatten() {
        let Variable {
            name,
            meaning,
            values,
            default,
        } = variable;
        let default = match default.as_str() {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        text.push_str(&format!(
            "  {name}\n          {meaning} ({values}){default}\n"
        ));
    }
    text.push_str(
        "An account of the --accounts file has the same settings, in lower case and without the prefix.",
    );
    text
}

fn of_settings(settings: &Settings) -> impl Iterator<Item = Variable> {
    let schema = schema(settings);
    settings.keys.iter().map(move |(key, kind)| Variable {
        name: settings.variable(key),
        ..described(&schema, key, kind)
    })
}

/// The schema's own members, by the component's keys.
fn schema(settings: &Settings) -> Value {
    let schema: Value = serde_json::from_str(settings.schema).unwrap_or_default();
    schema.get("properties").cloned().unwrap_or_default()
}

fn described(schema: &Value, key: &str, kind: &Kind) -> Variable {
    let about = &schema[key];
    let text = |member: &str| about[member].as_str().unwrap_or_default().to_owned();
    Variable {
        name: String::new(),
        meaning: text("description"),
        values: kind.to_string(),
        default: text("default"),
    }
}
