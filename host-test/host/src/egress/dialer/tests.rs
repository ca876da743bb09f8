//! What a resolver says is checked, whatever it says.

use std::sync::Mutex;

use super::*;

/// Gives each of these answers once, the last first.
struct Changing(Mutex<Vec<&'static [&'static str]>>);

impl Resolve for Changing {
    fn resolve(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let answer = self.0.lock().unwrap().pop().unwrap_or_default();
        let addresses = answer.iter().map(|text| text.parse().unwrap()).collect();
        futures::future::ready(Ok(addresses)).boxed()
    }
}

#[tokio::test]
async fn every_answer_of_the_resolver_is_checked() {
    let answers: Vec<&[&str]> = vec![
        &[],
        &["127.0.0.1", "1.1.1.1", "fd00::1"],
        &["127.0.0.1"],
        &["1.1.1.1"],
    ];
    let mut resolver = Resolver {
        resolver: Arc::new(Changing(Mutex::new(answers))),
        policy: AddressPolicy::Public,
    };
    let name = || "example.com".parse::<Name>().unwrap();
    let only_public = vec!["1.1.1.1:0".parse::<SocketAddr>().unwrap()];
    let first = resolver.call(name()).await.unwrap();
    assert_eq!(first.collect::<Vec<_>>(), only_public);
    let rebound = resolver.call(name()).await.unwrap_err();
    assert!(matches!(rebound, ConnectError::ProhibitedAddress));
    let mixed = resolver.call(name()).await.unwrap();
    assert_eq!(mixed.collect::<Vec<_>>(), only_public);
    let empty = resolver.call(name()).await.unwrap_err();
    assert!(matches!(empty, ConnectError::Dns(_)));
}

#[test]
fn both_sets_of_roots_give_a_configuration() {
    load_tls_config(false);
    load_tls_config(true);
}
