//! A secret that a caller sends as a bearer token.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a caller must know. Only its hash is kept.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
}

impl Token {
    /// A token; none when it is empty.
    pub fn new(token: &str) -> Option<Token> {
        let digest = Sha256::digest(token).into();
        (!token.is_empty()).then_some(Token { digest })
    }

    /// A random token, in words and as it is kept.
    pub fn draw() -> (String, Token) {
        let token = format!("{:032x}", rand::random::<u128>());
        let digest = Sha256::digest(&token).into();
        (token, Token { digest })
    }

    /// Whether a request has it: `Authorization: Bearer TOKEN`.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some((scheme, token)) = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
        else {
            return false;
        };
        // Of hashes, so that the time tells nothing of the token, not even its length.
        let given: [u8; 32] = Sha256::digest(token.trim()).into();
        scheme.eq_ignore_ascii_case("bearer") && bool::from(self.digest.ct_eq(&given))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        assert!(Token::new("").is_none());
        let token = Token::new("s3cret").unwrap();
        let is_in = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            token.is_in(&HeaderMap::from_iter([(AUTHORIZATION, value)]))
        };
        assert!(is_in("Bearer s3cret"));
        assert!(is_in("bearer  s3cret"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3cret2",
            "Bearer S3cret",
            "Basic s3cret",
            "s3cret",
        ] {
            assert!(!is_in(wrong), "{wrong}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
        assert!(!format!("{token:?}").contains("s3cret"));
    }
}
