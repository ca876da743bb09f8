//! Which requests the servers accept. Each request must call the server by one of its names and must
//! not come from a web page of another origin. The control paths also want their token, and a client
//! on this machine.

use gateway_listener::{Foreign, Names, Peer, Token, has_origin};
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::json;

use crate::body::AnswerBody;
use crate::response::json_answer;

/// What is asked of every request.
pub(crate) struct Gate {
    names: Names,
    token: String,
    expected_token: Token,
}

/// Why a request is not obeyed.
pub(crate) struct Refusal {
    status: StatusCode,
    sentence: &'static str,
}

impl Gate {
    /// With this token for the control paths; `None` and an empty one draw one.
    pub(crate) fn new(names: Names, token: Option<String>) -> Gate {
        let given = token
            .and_then(|token| Token::new(&token).map(|expected_token| (token, expected_token)));
        let (token, expected_token) = given.unwrap_or_else(Token::draw);
        Gate {
            names,
            token,
            expected_token,
        }
    }

    /// The token of the control paths.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Whether a request is obeyed. `is_told` says whether a client was sent here by this name.
    pub(crate) fn check(
        &self,
        peer: Peer,
        head: &Parts,
        is_told: impl FnOnce() -> bool,
    ) -> Result<(), Refusal> {
        match self.names.check(peer.local, head) {
            Ok(()) => {}
            Err(Foreign::Host) if !has_origin(&head.headers) && is_told() => {}
            Err(foreign) => return Err(Refusal::new(StatusCode::FORBIDDEN, foreign.sentence())),
        }
        if !head.uri.path().starts_with("/sim/") {
            return Ok(());
        }
        if !peer.remote.ip().to_canonical().is_loopback() {
            let sentence = "the control paths are for this machine only";
            return Err(Refusal::new(StatusCode::FORBIDDEN, sentence));
        }
        if !self.expected_token.is_in(&head.headers) {
            let sentence = "send the header `Authorization: Bearer` with the value of WEIXIN_SIM_TOKEN, \
                 which the simulator prints at its start";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, sentence));
        }
        Ok(())
    }
}

impl Refusal {
    fn new(status: StatusCode, sentence: &'static str) -> Refusal {
        Refusal { status, sentence }
    }

    pub(crate) fn answer(self) -> Response<AnswerBody> {
        let body = json!({"error": format!("{}.", self.sentence)});
        let mut response = json_answer(self.status, body.to_string().into());
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn refused(remote: &str, path: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let gate = Gate::new(Names::default(), Some("t0ken".to_owned()));
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let peer = Peer {
            remote: remote.parse().unwrap(),
            local: "192.0.2.9".parse().unwrap(),
        };
        let checked = gate.check(peer, &head, || head.headers["host"] == "idc2.test");
        checked.err().map(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn control_is_for_this_machine_and_its_token() {
        let (here, api) = ("127.0.0.1:7", "/ilink/bot/getupdates");
        let token = ("authorization", "Bearer t0ken");
        let host = ("host", "localhost");
        for (remote, path, headers, expect) in [
            (here, "/sim/log", vec![host, token], None),
            ("[::ffff:127.0.0.1]:7", "/sim/log", vec![host, token], None),
            ("192.0.2.1:7", "/sim/log", vec![host, token], Some(403)),
            (here, "/sim/log", vec![host], Some(401)),
            (here, "/sim/", vec![host], Some(401)),
            (
                here,
                "/sim/log",
                vec![host, ("authorization", "Bearer other")],
                Some(401),
            ),
            (here, api, vec![host], None),
            ("192.0.2.1:7", api, vec![("host", "192.0.2.9:80")], None),
            (here, api, vec![("host", "idc2.test")], None),
            (here, api, vec![("host", "idc3.test")], Some(403)),
            (
                here,
                api,
                vec![("host", "idc2.test"), ("origin", "http://idc2.test")],
                Some(403),
            ),
            (
                here,
                "/sim/messages",
                vec![host, token, ("origin", "https://evil.example")],
                Some(403),
            ),
            (
                here,
                "/sim/messages",
                vec![("host", "rebound.example"), token],
                Some(403),
            ),
        ] {
            assert_eq!(
                refused(remote, path, &headers),
                expect,
                "{path} {headers:?}"
            );
        }
    }

    #[test]
    fn a_token_is_drawn_where_none_is_given() {
        let drawn = |token: Option<&str>| {
            let gate = Gate::new(Names::default(), token.map(str::to_owned));
            gate.token().to_owned()
        };
        assert_eq!(drawn(Some("mine")), "mine");
        assert_eq!(drawn(None).len(), 32);
        assert_eq!(drawn(Some("")).len(), 32);
        assert_ne!(drawn(None), drawn(None));
    }
}
