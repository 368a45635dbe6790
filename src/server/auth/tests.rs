use std::time::{Duration, SystemTime};

use super::*;
use crate::config::Grant;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn key(name: &str, role: Role, secret: &str, expires: Option<&str>) -> Key {
    Key {
        name: name.to_owned(),
        role,
        sha256: Digest::of(secret),
        expires: expires.map(|text| text.parse().unwrap()),
    }
}

fn rules(settings: AuthSettings) -> Rules {
    let keys = KeyFile {
        tokens: vec![
            key("scope-2", Role::Infer, "good", None),
            key("boss", Role::Admin, "best", None),
            key("old", Role::Infer, "old", Some("1970-01-02")),
        ],
        certificates: vec![
            key("scope-3", Role::Observe, "known", None),
            key("gone", Role::Infer, "gone", Some("1970-01-02")),
        ],
    };
    let rules = Rules::new(&settings, keys).unwrap();
    Rules {
        own_uid: 999,
        ..rules
    }
}

fn tcp() -> Caller {
    Caller::new(Origin::Ip([127, 0, 0, 1].into()), None)
}

fn unix(uid: u32, gid: u32) -> Caller {
    Caller::new(Origin::User { uid }, Some(gid))
}

fn tls(certificate: Option<&str>) -> Caller {
    tcp().encrypted(certificate.map(Digest::of))
}

/// "NAME may ROLE", or why not.
fn settle(rules: &Rules, caller: &Caller, authorization: Option<&str>) -> String {
    let later = NOW + Duration::from_secs(86_400);
    match rules.settle(caller, authorization.map(str::as_bytes), later) {
        Ok(peer) => format!("{peer} may {}", peer.role()),
        Err(why) => why,
    }
}

#[test]
fn everybody_gets_the_role_that_is_theirs() {
    let rules = rules(AuthSettings {
        admins: vec!["4000001".to_owned(), "%4000002".to_owned()],
        ..AuthSettings::default()
    });
    for (caller, authorization, expected) in [
        (tcp(), None, "127.0.0.1 may infer"),
        (tcp(), Some("Bearer best"), "token boss may admin"),
        (tls(None), Some("Bearer good"), "token scope-2 may infer"),
        (tls(None), Some("bearer  good "), "token scope-2 may infer"),
        (tls(Some("known")), None, "certificate scope-3 may observe"),
        (
            tls(Some("known")),
            Some("Bearer good"),
            "token scope-2 may infer",
        ),
        (unix(0, 0), None, "uid 0 (root) may admin"),
        (unix(999, 1), None, "may admin"),
        (unix(4_000_001, 1), None, "uid 4000001 may admin"),
        (unix(4_000_003, 4_000_002), None, "uid 4000003 may admin"),
        (unix(4_000_003, 1), None, "uid 4000003 may infer"),
        // A wrong token is never overlooked, wherever it comes from.
        (
            unix(0, 0),
            Some("Bearer wrong"),
            "this token is not known here",
        ),
        (tcp(), Some("Bearer wrong"), "this token is not known here"),
        (tcp(), Some("Bearer "), "this token is not known here"),
        (tcp(), Some("Bearer"), "must be: Bearer TOKEN"),
        (tcp(), Some("Basic good"), "must be: Bearer TOKEN"),
        (
            tls(None),
            Some("Bearer old"),
            "the token of old has expired",
        ),
        (
            tls(Some("gone")),
            None,
            "the certificate of gone is no longer",
        ),
        (tls(Some("unknown")), None, "has no role here"),
        (tls(None), None, "a token is needed here"),
    ] {
        let got = settle(&rules, &caller, authorization);
        assert!(
            got.contains(expected),
            "{caller:?} {authorization:?}: {got}"
        );
    }
}

#[test]
fn settings_open_and_close_doors() {
    let closed = rules(AuthSettings {
        loopback: Grant::None,
        unix: Grant::None,
        ..AuthSettings::default()
    });
    for caller in [tcp(), unix(4_000_003, 1)] {
        let got = settle(&closed, &caller, None);
        assert!(got.contains("needs a token here"), "{got}");
    }
    assert!(settle(&closed, &unix(0, 0), None).contains("may admin"));
    let by_ca = rules(AuthSettings {
        certificates: Grant::Infer,
        ..AuthSettings::default()
    });
    let got = settle(&by_ca, &tls(Some("unknown")), None);
    assert!(
        got.starts_with("certificate ") && got.ends_with(" may infer"),
        "{got}"
    );
}

#[test]
fn a_login_reads_and_comes_from_where_its_connection_does() {
    let rules = rules(AuthSettings::default());
    for caller in [tcp(), tls(None), unix(7, 8)] {
        let peer = rules.settle_login(&caller, &Digest::of("best"), NOW);
        let peer = peer.unwrap();
        assert_eq!(peer.role(), Role::Observe);
        assert_eq!(peer.to_string(), "the login with token boss");
        let from = (peer.origin(), peer.gid());
        assert_eq!(from, (Some(caller.origin), caller.gid));
    }
    let unknown = rules.settle_login(&tcp(), &Digest::of("bad"), NOW);
    assert!(unknown.unwrap_err().contains("not known here"));
}

#[test]
fn no_address_of_another_machine_is_admin() {
    let open = rules(AuthSettings {
        loopback: Grant::Admin,
        ..AuthSettings::default()
    });
    assert_eq!(settle(&open, &tcp(), None), "127.0.0.1 may admin");
    let far = Caller::new(Origin::Ip([10, 0, 0, 9].into()), None);
    assert_eq!(settle(&open, &far, None), "10.0.0.9 may infer");
    let by_token = settle(&open, &far, Some("Bearer best"));
    assert_eq!(by_token, "token boss may admin");
}
