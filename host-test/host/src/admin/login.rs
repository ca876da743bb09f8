//! Logins, step by step, as JSON. Each account has one at a time. The credential is stored, and the code
//! that runs the accounts reads it from there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use serde::Serialize;
use serde_json::Value;

use super::api_error::ApiError;
use super::{Admin, MAX_BODY_BYTES, body, in_path};
use crate::login::{Login, LoginError, Logins, Step};

/// The logins that are under way, by account.
#[derive(Clone, Default)]
pub struct Sessions {
    by_account: Arc<Mutex<HashMap<String, Arc<Login>>>>,
}

impl Sessions {
    fn get(&self, account: &str) -> Result<Arc<Login>, ApiError> {
        let sessions = self.by_account.lock();
        let sessions = sessions.unwrap_or_else(PoisonError::into_inner);
        let login = sessions.get(account).cloned();
        login.ok_or_else(|| ApiError::not_found("no login is under way: begin one with POST"))
    }

    /// Keeps a login, or what replaces it: nothing after its last step.
    fn after(&self, account: String, login: Arc<Login>, step: &Step) {
        let sessions = self.by_account.lock();
        let mut sessions = sessions.unwrap_or_else(PoisonError::into_inner);
        if step.is_last() {
            sessions.remove(&account);
        } else {
            sessions.insert(account, login);
        }
    }
}

type Account = Result<Path<String>, PathRejection>;

/// `POST …/login`: starts over.
pub async fn begin(State(admin): State<Admin>, path: Account) -> Result<Json<LoginStep>, ApiError> {
    let id = in_path(path)?;
    let logins = Logins::of(&admin.account(&id)?, admin.gateway.credentials());
    let (login, step) = Login::begin(&logins).await?;
    admin.sessions.after(id, Arc::new(login), &step);
    Ok(Json(step.into()))
}

/// `GET …/login`: waits for the next step.
pub async fn next(State(admin): State<Admin>, path: Account) -> Result<Json<LoginStep>, ApiError> {
    let id = in_path(path)?;
    let login = admin.sessions.get(&id)?;
    let step = login.next().await?;
    admin.sessions.after(id, login, &step);
    Ok(Json(step.into()))
}

/// `POST …/login/code` with `{"code"}`.
pub async fn submit(
    State(admin): State<Admin>,
    path: Account,
    request: Request,
) -> Result<Json<LoginStep>, ApiError> {
    let id = in_path(path)?;
    let body = body(request, MAX_BODY_BYTES).await?;
    let body: Value =
        serde_json::from_slice(&body).map_err(|_| ApiError::invalid("the body is no JSON"))?;
    let code = body.get("code").and_then(Value::as_str);
    let code = code.ok_or_else(|| ApiError::invalid("\"code\" must be a string"))?;
    let login = admin.sessions.get(&id)?;
    let step = login.submit(code.to_owned()).await?;
    admin.sessions.after(id, login, &step);
    Ok(Json(step.into()))
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> ApiError {
        match error {
            LoginError::Call(error) => ApiError::from(error),
            LoginError::Start(error) => ApiError::invalid(error.to_string()),
            error @ LoginError::Store(_) => ApiError::storage(error.to_string()),
        }
    }
}

/// A step as the contract has it.
#[derive(Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum LoginStep {
    ShowQr { text: String, until_ms: u64 },
    Confirm,
    EnterCode,
    Done { account: String },
    Failed { reason: String },
}

impl From<Step> for LoginStep {
    fn from(step: Step) -> LoginStep {
        match step {
            Step::ShowQr { text, until_ms } => LoginStep::ShowQr { text, until_ms },
            Step::Confirm => LoginStep::Confirm,
            Step::EnterCode => LoginStep::EnterCode,
            Step::Done { account } => LoginStep::Done { account },
            Step::Failed { reason } => LoginStep::Failed { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_as_the_contract_has_them() {
        let qr = Step::ShowQr {
            text: "https://x".to_owned(),
            until_ms: 5,
        };
        let done = Step::Done {
            account: "bot@im.bot".to_owned(),
        };
        let failed = Step::Failed {
            reason: "expired".to_owned(),
        };
        for (step, expected) in [
            (qr, r#"{"step":"show-qr","text":"https://x","until_ms":5}"#),
            (Step::Confirm, r#"{"step":"confirm"}"#),
            (Step::EnterCode, r#"{"step":"enter-code"}"#),
            (done, r#"{"step":"done","account":"bot@im.bot"}"#),
            (failed, r#"{"step":"failed","reason":"expired"}"#),
        ] {
            assert_eq!(
                serde_json::to_string(&LoginStep::from(step)).unwrap(),
                expected
            );
        }
    }
}
