//! Logins, step by step: what the component says, as JSON.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;
use super::{Admin, MAX_BODY_BYTES, body, in_path};
use crate::instance::Step;

type Account = Result<Path<String>, PathRejection>;

/// `POST …/login`: starts over.
pub async fn begin(State(admin): State<Admin>, path: Account) -> Result<Json<Told>, Failure> {
    let account = admin.account(&in_path(path)?)?;
    Ok(Json(account.begin_login().await?.into()))
}

/// `GET …/login`: waits for the next step.
pub async fn next(State(admin): State<Admin>, path: Account) -> Result<Json<Told>, Failure> {
    let account = admin.account(&in_path(path)?)?;
    Ok(Json(account.next_login_step().await?.into()))
}

/// `POST …/login/code` with `{"code"}`.
pub async fn submit(
    State(admin): State<Admin>,
    path: Account,
    request: Request,
) -> Result<Json<Told>, Failure> {
    let account = admin.account(&in_path(path)?)?;
    let body = body(request, MAX_BODY_BYTES).await?;
    let body: Value =
        serde_json::from_slice(&body).map_err(|_| Failure::invalid("the body is no JSON"))?;
    let code = body["code"].as_str();
    let code = code.ok_or_else(|| Failure::invalid("\"code\" must be a string"))?;
    let step = account.submit_login_code(code.to_owned()).await?;
    Ok(Json(step.into()))
}

/// A step as the contract has it.
#[derive(Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Told {
    ShowQr { text: String, until_ms: u64 },
    Confirm,
    EnterCode,
    Done { account: String },
    Failed { reason: String },
}

impl From<Step> for Told {
    fn from(step: Step) -> Told {
        match step {
            Step::ShowQr(qr) => Told::ShowQr {
                text: qr.text,
                until_ms: qr.until,
            },
            Step::Confirm => Told::Confirm,
            Step::EnterCode => Told::EnterCode,
            Step::Done(identity) => Told::Done {
                account: identity.account,
            },
            Step::AlreadyBound => Told::Failed {
                reason: "bound already".to_owned(),
            },
            Step::Failed(reason) => Told::Failed { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::exports::gateway::channel::login::{Identity, Qr};

    #[test]
    fn steps_are_as_the_contract_has_them() {
        let qr = Qr {
            text: "https://x".to_owned(),
            until: 5,
        };
        for (step, expected) in [
            (
                Step::ShowQr(qr),
                r#"{"step":"show-qr","text":"https://x","until_ms":5}"#,
            ),
            (Step::Confirm, r#"{"step":"confirm"}"#),
            (Step::EnterCode, r#"{"step":"enter-code"}"#),
            (
                Step::Done(Identity {
                    account: "bot@im.bot".to_owned(),
                    owner: None,
                    config: Vec::new(),
                }),
                r#"{"step":"done","account":"bot@im.bot"}"#,
            ),
            (
                Step::Failed("expired".to_owned()),
                r#"{"step":"failed","reason":"expired"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&Told::from(step)).unwrap(), expected);
        }
    }
}
