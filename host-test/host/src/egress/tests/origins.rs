//! Which origins an account reaches, and what of a path is its own.

use super::*;

#[tokio::test]
async fn pinned_origins_are_all_that_a_component_reaches_besides_what_is_configured() {
    let server = Server::start(OK, Then::Close).await;
    let named = |host: &str| Rule::new("https", host, None, "").unwrap();
    let rules = || vec![server.rule(), named("*.example.com")];
    let pins = Pins::default();
    let egress = egress(rules(), secrets()).pinned(&pins, "weixin");
    assert!(egress.reaches("https://evil.example.com/x"));
    let pinned = vec!["https://good.example.com".to_owned()];
    pins.set(&[("weixin".to_owned(), pinned)].into()).unwrap();
    assert!(egress.reaches("https://good.example.com/"));
    for url in [
        "https://evil.example.com/",
        "https://good.example.com:444/",
        "x",
    ] {
        assert!(!egress.reaches(url), "{url}");
    }
    let error = send(&egress, "https://evil.example.com/x")
        .await
        .err()
        .unwrap();
    assert!(error.is_refusal());
    assert!(error.to_string().contains("--allow-egress"), "{error}");
    // The operator's own word stays.
    let response = send(&egress, &server.url("/a")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "ok");
}

#[test]
fn the_path_that_is_counted_is_the_components_own() {
    let rules = |bases: &[&str]| {
        let mut rules: Vec<Rule> = bases
            .iter()
            .map(|base| Rule::configured(base).unwrap())
            .collect();
        rules.push(Rule::new("https", "*.example.com", None, "").unwrap());
        rules
    };
    let own = |bases: &[&str], url: &str| {
        let uri: Uri = url.parse().unwrap();
        let path = egress(rules(bases), secrets()).own_path(&uri);
        path.unwrap_or_else(|| "none".to_owned())
    };
    for (base, url, expected) in [
        (
            "http://h/s3cret/",
            "http://h/s3cret/ilink/bot/x?q=s3cret",
            "/ilink/bot/x",
        ),
        ("http://h/s3cret", "http://h/s3cret", "/"),
        ("http://h/s3cret", "http://h:80/s3cret/a", "/a"),
        ("http://h", "http://h/a", "/a"),
        ("http://h/", "http://h/a", "/a"),
        // Where it can't be told apart, nothing is told.
        ("http://h/s3cret", "http://h//s3cret/a", "none"),
        ("http://h/s3cret", "http://h/S3CRET/a", "none"),
        ("http://h/s3cret", "http://h/s3cretly/a", "none"),
        ("http://h/s3cret", "http://h/s3cret/../a", "none"),
        ("http://h/s3cret", "http://h/a", "none"),
        ("http://h/s3cret", "https://a.example.com/s", "/s"),
        ("http://h/s3cret", "http://other/s", "/s"),
    ] {
        assert_eq!(own(&[base], url), expected, "{base} {url}");
    }
    let bases = ["http://h/s3cret", "http://h/s3cret/media"];
    assert_eq!(own(&bases, "http://h/s3cret/media/get"), "/get");
    assert_eq!(own(&bases, "http://h/s3cret/bot"), "/bot");
}
