//! The self-declared user agent `base_info.bot_agent`.
//!
//! ```text
//! agent   = product *( SP product )
//! product = name "/" version [ SP "(" comment ")" ]
//! ```
//!
//! What does not fit is left out, as the official client does; if nothing is left, the agent is
//! [`DEFAULT`].

/// What the official client says of itself.
pub const DEFAULT: &str = "OpenClaw";

const MAX_BYTES: usize = 256;

/// The products of `text` that fit the grammar.
pub fn sanitize(text: &str) -> String {
    let mut products: Vec<String> = Vec::new();
    let mut takes_comment = false;
    for token in tokens(text) {
        if is_product(&token) {
            products.push(token);
            takes_comment = true;
        } else if takes_comment && is_comment(&token) {
            if let Some(product) = products.last_mut() {
                product.push(' ');
                product.push_str(&token);
            }
            takes_comment = false;
        }
    }
    let mut agent = String::new();
    for product in products {
        let separator = usize::from(!agent.is_empty());
        if agent.len() + separator + product.len() > MAX_BYTES {
            break;
        }
        if separator == 1 {
            agent.push(' ');
        }
        agent.push_str(&product);
    }
    if agent.is_empty() {
        agent.push_str(DEFAULT);
    }
    agent
}

/// Words, with those of a comment in brackets glued together.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let mut token = word.to_owned();
        if word.starts_with('(') {
            while !token.ends_with(')')
                && let Some(next) = words.next()
            {
                token.push(' ');
                token.push_str(next);
            }
        }
        tokens.push(token);
    }
    tokens
}

fn is_product(token: &str) -> bool {
    let fits = |text: &str, marks: &str| {
        (1..=32).contains(&text.len())
            && text
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || marks.contains(char))
    };
    token
        .split_once('/')
        .is_some_and(|(name, version)| fits(name, "_.-") && fits(version, "_.+-"))
}

fn is_comment(token: &str) -> bool {
    token
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .is_some_and(|comment| {
            (1..=64).contains(&comment.len())
                && comment
                    .chars()
                    .all(|char| (' '..='~').contains(&char) && !matches!(char, '(' | ')'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_official_clients_examples() {
        let long_version = format!("A/{}", "1".repeat(33));
        for (text, expect) in [
            ("MyBot/1.2.0", "MyBot/1.2.0"),
            ("A/1 (multi word c) B/2", "A/1 (multi word c) B/2"),
            ("My Bot/1", "Bot/1"),
            ("A/1 (c1) (c2)", "A/1 (c1)"),
            ("(x) A/1", "A/1"),
            ("A/1 (unclosed B/2", "A/1"),
            ("A/1 (bad(paren))", "A/1"),
            ("A/1 ()", "A/1"),
            ("A/1(c)", DEFAULT),
            ("A", DEFAULT),
            (&long_version, DEFAULT),
            ("机器人/1 B/2", "B/2"),
            ("", DEFAULT),
        ] {
            assert_eq!(sanitize(text), expect, "{text}");
        }
    }

    #[test]
    fn a_long_agent_keeps_its_first_whole_products() {
        let text = (0..40)
            .map(|n| format!("Product{n}/1.0 "))
            .collect::<String>();
        let agent = sanitize(&text);
        assert!(agent.len() <= MAX_BYTES && agent.ends_with("/1.0"));
    }
}
