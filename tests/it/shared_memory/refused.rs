//! What may not be registered or named.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cellsegd::{
    config::Settings,
    proto::{self as pb, failed::Code as FailedCode, frame::Pixels},
};
use tonic::Code;

use super::{Memory, SLOT, answer, controller, counting, failure, has_none, in_slot, ours, slot};
use crate::{
    client::{Session, outcome},
    daemon::Daemon,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_registered_is_refused_with_words() {
    if has_none() {
        return;
    }
    let daemon = Daemon::start(ours(), counting().0, 1);
    let memory = Memory::new(100);
    let private = Memory::new(100);
    let rights = fs::Permissions::from_mode(0o600);
    private.file.set_permissions(rights).unwrap();
    let link = format!("{}-link", memory.path.display());
    std::os::unix::fs::symlink(&memory.path, &link).unwrap();
    let folder = format!("{}-folder", memory.path.display());
    fs::create_dir(&folder).unwrap();
    let key_of = |path: &str| path.trim_start_matches("/dev/shm").to_owned();
    let mut controller = controller(&daemon).await;
    let good = memory.registration("cam", 100);
    let with = |change: &dyn Fn(&mut pb::RegisterRegion)| {
        let mut wanted = good.clone();
        change(&mut wanted);
        wanted
    };
    let cases = [
        (
            with(&|w| w.name.clear()),
            Code::InvalidArgument,
            "1 to 256 bytes",
        ),
        (
            with(&|w| w.name = "n".repeat(257)),
            Code::InvalidArgument,
            "this one 257",
        ),
        (
            with(&|w| w.key.clear()),
            Code::InvalidArgument,
            "it is empty",
        ),
        (
            with(&|w| w.key = "/../x".into()),
            Code::InvalidArgument,
            "no slash but the first",
        ),
        (
            with(&|w| w.key = "/cellsegd-it-/../../etc/passwd".into()),
            Code::InvalidArgument,
            "no slash",
        ),
        (
            with(&|w| w.key = "/..".into()),
            Code::InvalidArgument,
            "names a folder",
        ),
        (
            with(&|w| w.key = "/cellsegd-it-\0".into()),
            Code::InvalidArgument,
            "NUL",
        ),
        (
            with(&|w| w.key = format!("/cellsegd-it-{}", "a".repeat(300))),
            Code::InvalidArgument,
            "at most 255",
        ),
        (
            with(&|w| w.key = "/other".into()),
            Code::PermissionDenied,
            "settings allow /cellsegd-it-*",
        ),
        (
            with(&|w| w.key = "/cellsegd-it-none".into()),
            Code::NotFound,
            "create it first",
        ),
        (
            with(&|w| w.key = key_of(&link)),
            Code::InvalidArgument,
            "symbolic link",
        ),
        (
            with(&|w| w.key = key_of(&folder)),
            Code::InvalidArgument,
            "not shared memory",
        ),
        (
            with(&|w| w.key = private.key.clone()),
            Code::PermissionDenied,
            "0644",
        ),
        (
            with(&|w| w.byte_size = 0),
            Code::InvalidArgument,
            "at least 1",
        ),
        (
            with(&|w| w.byte_size = 101),
            Code::InvalidArgument,
            "the memory has 100 bytes",
        ),
        (
            with(&|w| w.offset = 1),
            Code::InvalidArgument,
            "the memory has 100 bytes",
        ),
        (
            with(&|w| w.offset = u64::MAX),
            Code::InvalidArgument,
            "the memory has 100 bytes",
        ),
        (
            with(&|w| w.byte_size = u64::MAX),
            Code::InvalidArgument,
            "the memory has 100 bytes",
        ),
    ];
    for (wanted, code, text) in cases {
        let told = format!("{wanted:?}");
        let refused = controller.register(wanted).await.expect_err(&told);
        assert_eq!(refused.code(), code, "{told}: {refused}");
        assert!(refused.message().contains(text), "{told}: {refused}");
        assert!(!refused.message().contains("/dev/shm/"), "{refused}");
    }
    fs::remove_file(&link).unwrap();
    fs::remove_dir(&folder).unwrap();
    let none = controller
        .list_regions(pb::ListRegionsRequest {})
        .await
        .unwrap();
    assert_eq!(none.into_inner().regions, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_setting_nothing_is_registered() {
    let daemon = Daemon::start(Settings::default(), counting().0, 1);
    let mut controller = controller(&daemon).await;
    let wanted = pb::RegisterRegion {
        name: "cam".to_owned(),
        key: "/cellsegd-it-x".to_owned(),
        offset: 0,
        byte_size: 1,
    };
    let refused = controller.register(wanted).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("allow none"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_slot_fails_alone() {
    if has_none() {
        return;
    }
    let daemon = Daemon::start(ours(), counting().0, 1);
    let memory = Memory::new(2 * SLOT);
    memory.write(0, &[3]);
    let mut controller = controller(&daemon).await;
    let wanted = memory.registration("cam", 2 * SLOT);
    controller.register(wanted).await.unwrap();
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    let inside = SLOT as u64;
    let mut without_layout = slot(0, "cam", 0);
    if let Some(Pixels::Shared(shared)) = &mut without_layout.pixels {
        shared.layout = None;
    }
    use FailedCode::{InvalidFrame, TooLarge, Unsupported};
    let cases = [
        (slot(0, "mac", 0), InvalidFrame, "no region \"mac\""),
        (slot(0, "", 0), InvalidFrame, "no region \"\""),
        (
            slot(0, "cam", inside + 1),
            InvalidFrame,
            "it has 1536 bytes",
        ),
        (slot(0, "cam", u64::MAX), InvalidFrame, "it has 1536 bytes"),
        (
            slot(0, "cam", u64::MAX - inside + 1),
            InvalidFrame,
            "it has 1536 bytes",
        ),
        (
            in_slot(0, "cam", 0, |l| l.height = 49),
            InvalidFrame,
            "1568 bytes from 0",
        ),
        (
            in_slot(0, "cam", 0, |l| l.row_stride = u32::MAX),
            TooLarge,
            "a frame may have at most",
        ),
        (
            in_slot(0, "cam", 0, |l| l.width = u32::MAX),
            TooLarge,
            "a side may be at most",
        ),
        (
            in_slot(0, "cam", 0, |l| l.width = 0),
            InvalidFrame,
            "at least 1",
        ),
        (
            in_slot(0, "cam", 0, |l| l.format = 99),
            InvalidFrame,
            "unknown pixel format",
        ),
        (
            in_slot(0, "cam", 0, |l| l.data = vec![1; 768].into()),
            InvalidFrame,
            "has 768 bytes of data",
        ),
        (
            in_slot(0, "cam", 0, |l| {
                l.compression = pb::Compression::Zlib.into()
            }),
            Unsupported,
            "not compressed",
        ),
        (without_layout, InvalidFrame, "without a layout"),
    ];
    for (frame, code, text) in cases {
        let reply = answer(&mut session, frame.clone()).await;
        let (got, message) = failure(&reply);
        assert_eq!(got, code, "{frame:?}: {message}");
        assert!(message.contains(text), "{frame:?}: {message}");
    }
    // The last row may end without its padding.
    let to_the_end = in_slot(1, "cam", 0, |l| (l.row_stride, l.height) = (64, 24));
    assert_eq!(outcome(&answer(&mut session, to_the_end).await), "3 cells");
}
