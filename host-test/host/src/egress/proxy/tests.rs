//! What the environment says, and what it can't mean.

use super::*;

fn reading(variables: &[(&str, &str)]) -> Result<Proxies, ProxyError> {
    Proxies::from_environment(&|name| {
        let found = variables.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value.into())
    })
}

/// Where a request goes, `-` when it goes direct.
fn way(proxies: &Proxies, url: &str) -> String {
    match proxies.of_request(&url.parse().unwrap()) {
        Some(proxy) => crate::egress::proxy_connection::name(&proxy),
        None => "-".to_owned(),
    }
}

#[test]
fn each_scheme_has_its_variable_and_all_proxy_fills_in() {
    for (variables, https, http) in [
        (&[][..], "-", "-"),
        (&[("HTTPS_PROXY", "http://a:1")], "http://a:1", "-"),
        (&[("https_proxy", "a:1")], "http://a:1", "-"),
        (&[("HTTP_PROXY", "http://a:1/")], "-", "http://a:1"),
        (&[("http_proxy", " http://a ")], "-", "http://a"),
        (
            &[("ALL_PROXY", "https://u:p@a:1")],
            "https://a:1",
            "https://a:1",
        ),
        (
            &[("all_proxy", "socks5h://a"), ("HTTPS_PROXY", "b")],
            "http://b",
            "socks5h://a",
        ),
        (
            &[("HTTPS_PROXY", "a:1"), ("https_proxy", "b:1")],
            "http://a:1",
            "-",
        ),
        (
            &[("HTTPS_PROXY", " "), ("https_proxy", "b:1")],
            "http://b:1",
            "-",
        ),
        // What is not used is not looked at.
        (
            &[
                ("HTTPS_PROXY", "a:1"),
                ("https_proxy", "nonsense:x"),
                ("NO_PROXY", ""),
            ],
            "http://a:1",
            "-",
        ),
        (
            &[
                ("HTTPS_PROXY", "a"),
                ("HTTP_PROXY", "b"),
                ("ALL_PROXY", "ftp://c"),
            ],
            "http://a",
            "http://b",
        ),
        (&[("NO_PROXY", "nonsense/x")], "-", "-"),
        (
            &[("ALL_PROXY", "socks://u:p@a:1080")],
            "socks5://a:1080",
            "socks5://a:1080",
        ),
        (&[("HTTPS_PROXY", "Socks5H://a")], "socks5h://a", "-"),
        (&[("HTTPS_PROXY", "HTTP://a:1")], "http://a:1", "-"),
        (
            &[("HTTPS_PROXY", "http://[::1]:3128")],
            "http://[::1]:3128",
            "-",
        ),
    ] {
        let proxies = reading(variables).unwrap();
        assert_eq!(
            way(&proxies, "https://example.com/"),
            https,
            "{variables:?}"
        );
        assert_eq!(way(&proxies, "http://example.com/"), http, "{variables:?}");
        assert_eq!(proxies.is_none(), https == "-" && http == "-");
    }
}

#[test]
fn no_proxy_lists_hosts_suffixes_addresses_and_ranges() {
    let list = "example.com, .weixin.qq.com *.wechat.com\t10.0.0.0/8,192.168.1.1,[fd00::1],fd01::/16,\
                host:8080,192.168.2.1:80";
    let proxies = reading(&[("ALL_PROXY", "http://a:1"), ("no_proxy", list)]).unwrap();
    for host in [
        "example.com",
        "EXAMPLE.com",
        "www.example.com",
        "a.b.weixin.qq.com",
        "weixin.qq.com",
        "ilinkai.wechat.com",
        "10.1.2.3",
        "192.168.1.1",
        "192.168.2.1",
        "[fd00::1]",
        "[fd01::2]",
        "host",
        "host:8080",
        "host:9090",
    ] {
        assert_eq!(way(&proxies, &format!("https://{host}/")), "-", "{host}");
    }
    for host in [
        "notexample.com",
        "example.com.evil.com",
        "11.0.0.1",
        "192.168.1.2",
        "[fd00::2]",
    ] {
        assert_eq!(
            way(&proxies, &format!("https://{host}/")),
            "http://a:1",
            "{host}"
        );
    }
    for list in ["*", "example.com,*"] {
        let proxies = reading(&[("ALL_PROXY", "http://a:1"), ("NO_PROXY", list)]).unwrap();
        for host in ["example.com", "1.1.1.1", "other.com"] {
            assert_eq!(way(&proxies, &format!("https://{host}/")), "-", "{host}");
        }
    }
}

#[test]
fn this_machine_is_reached_directly_unless_everything_is_named() {
    let proxies = reading(&[("ALL_PROXY", "http://a:1")]).unwrap();
    let named = Proxies::everything_through("http://a:1").unwrap();
    for host in [
        "localhost",
        "sim.LocalHost",
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        assert_eq!(way(&proxies, &format!("http://{host}:1/")), "-", "{host}");
        assert_eq!(
            way(&named, &format!("http://{host}:1/")),
            "http://a:1",
            "{host}"
        );
    }
    assert_eq!(way(&proxies, "http://192.168.0.1/"), "http://a:1");
    assert_eq!(way(&proxies, "http://localhost.example.com/"), "http://a:1");
}

#[test]
fn mistakes_are_one_line_that_names_the_variable_and_no_password() {
    for (name, url) in [
        ("HTTPS_PROXY", "ftp://u:hunter2@a:1"),
        ("https_proxy", "socks4://u:hunter2@a:1"),
        ("HTTP_PROXY", "http://u:hunter2@a:b"),
        ("ALL_PROXY", "http://u:hunter2@a:99999"),
        ("ALL_PROXY", "http://u:hunter2@"),
        ("ALL_PROXY", "http://u:hunter2@a:"),
        ("ALL_PROXY", "http://u:hunter2@b@a:1"),
        ("ALL_PROXY", "http://u:1#hunter2@a:1"),
        ("ALL_PROXY", "http://u:1/hunter2@a:1"),
        ("ALL_PROXY", "http://u:1?hunter2@a:1"),
        ("ALL_PROXY", "http://u:hunter2@a b:1"),
        ("ALL_PROXY", "http://u:hunter2@127.1:1"),
        ("all_proxy", "hunter2/x"),
        ("all_proxy", "//hunter2"),
        ("all_proxy", "/hunter2"),
        ("all_proxy", "hunter2 off"),
        ("all_proxy", "socks4a://hunter2"),
        ("all_proxy", "\"http://hunter2:1\""),
    ] {
        let error = reading(&[(name, url)]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{name} is no proxy: ")),
            "{url}: {error}"
        );
        assert!(error.contains("write http://"), "{error}");
        assert!(
            !error.contains("hunter2") && error.lines().count() == 1,
            "{error}"
        );
    }
}

#[test]
fn what_a_list_says_that_is_not_understood_is_one_warning() {
    for entry in [
        "10.0.0.0/33",
        "10.0.0.0/x",
        "fd00::/129",
        "x/8",
        "a..b",
        "[x]",
        "<-loopback>",
        "fe80::1%lo0",
        "10.0.0.0/255.0.255.0",
        "\u{fffd}",
    ] {
        let list = format!("example.com,{entry};.corp");
        let proxies = reading(&[("HTTPS_PROXY", "a"), ("NO_PROXY", &list)]).unwrap();
        let warning = proxies.warning().unwrap();
        assert!(
            warning.starts_with(&format!("NO_PROXY has {entry:?}, ")),
            "{warning}"
        );
        assert_eq!(warning.lines().count(), 1);
        for host in ["example.com", "x.corp"] {
            assert_eq!(way(&proxies, &format!("https://{host}/")), "-", "{host}");
        }
        assert_eq!(way(&proxies, "https://other.com/"), "http://a");
    }
}

#[test]
fn lists_of_other_systems_are_understood() {
    for (list, direct, through) in [
        (
            "169.254/16,<local>,127.*",
            &["169.254.1.2", "127.0.0.2", "printer"] as &[&str],
            &["169.255.0.1", "127.evil.com", "printer.evil.com"] as &[&str],
        ),
        ("a;b", &["a", "b", "x.b"], &["c"]),
        ("a|b", &["a", "b"], &["c"]),
        (" a , b ", &["a", "b"], &["c"]),
        ("*.corp", &["x.corp", "corp"], &["xcorp", "corp.com"]),
        ("*corp", &["x.corp", "xcorp"], &["corp.com"]),
        (
            "192.168.*",
            &["192.168.3.4"],
            &["192.169.0.1", "192.168.evil.com"],
        ),
        ("192.168.", &["192.168.3.4"], &["192.169.0.1"]),
        ("10.*.*.5", &["10.1.2.5"], &["10.1.2.6"]),
        (
            "10/8;172.16.0.0/255.240.0.0",
            &["10.9.9.9", "172.31.0.1"],
            &["172.32.0.1"],
        ),
        (
            "[::1],[fd00::1]:80,fe80::/10",
            &["[fd00::1]", "[fe80::5]"],
            &["[fd00::2]"],
        ),
        ("host:8080,http://plain/", &["host:9", "plain"], &["other"]),
        ("build-*.corp", &["build-7.corp"], &["x.corp"]),
        ("\"a,b\"", &["a", "b"], &["c"]),
        ("example.com.", &["example.com"], &["example.org"]),
    ] {
        let proxies = reading(&[("HTTPS_PROXY", "p"), ("NO_PROXY", list)]).unwrap();
        assert_eq!(proxies.warning(), None, "{list}");
        for host in direct {
            assert_eq!(
                way(&proxies, &format!("https://{host}/")),
                "-",
                "{list}: {host}"
            );
        }
        for host in through {
            let way = way(&proxies, &format!("https://{host}/"));
            assert_eq!(way, "http://p", "{list}: {host}");
        }
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_text_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;
    let error = Proxies::from_environment(&|name| {
        (name == "HTTPS_PROXY").then(|| OsString::from_vec(vec![b'a', 0xff]))
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "HTTPS_PROXY is no UTF-8 text"
    );
}

#[test]
fn what_is_shown_says_which_proxy_and_no_password() {
    let proxies = reading(&[
        ("https_proxy", "http://u:hunter2@a:1"),
        ("ALL_PROXY", "socks5://v:hunter2@b:1080"),
        ("NO_PROXY", "example.com,10.0.0.0/8"),
    ])
    .unwrap();
    let expected = "https through http://a:1 (https_proxy), http through socks5://b:1080 \
                    (ALL_PROXY), direct to example.com 10.0.0.0/8";
    assert_eq!(proxies.to_string(), expected);
    let named = Proxies::everything_through("u:hunter2@a:1").unwrap();
    for shown in [
        format!("{proxies:?}"),
        format!("{named:?}"),
        named.to_string(),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

proptest::proptest! {
    #[test]
    fn no_environment_panics(
        values in proptest::collection::vec("[a-z0-9:/@.,*#\\[\\]% -]{0,24}", 4),
        url in "https?://[a-z0-9.-]{1,12}(:[0-9]{1,5})?/",
    ) {
        let variables: Vec<(&str, &str)> = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"]
            .into_iter()
            .zip(values.iter().map(String::as_str))
            .collect();
        if let Ok(proxies) = reading(&variables)
            && let Ok(uri) = url.parse()
        {
            let _ = proxies.of_request(&uri);
        }
    }
}
