//! Whose regions are, how long they live, and what signals of others do.

#![allow(unsafe_code, reason = "reads memory that is not there")]

use std::{fs, net::IpAddr, os::unix::process::ExitStatusExt, process::Command, sync::Barrier};

use rustix::{
    fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, fcntl_setfl, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap},
};

use super::*;
use crate::{
    config::{Role, RoleLimits},
    server::caller::Caller,
};

fn peer(origin: Origin) -> Peer {
    let peer = Peer::new(origin.to_string(), Role::Infer, RoleLimits::default());
    peer.of_connection(&Caller::new(origin, None))
}

fn ip(text: &str) -> Peer {
    peer(Origin::Ip(text.parse::<IpAddr>().unwrap()))
}

fn memory(bytes: u64) -> OwnedFd {
    let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, bytes).unwrap();
    file
}

fn regions() -> Regions {
    Regions::new(&SharedMemorySettings::default())
}

/// As if a key had been registered, without a file in /dev/shm.
fn register(regions: &Regions, peer: &Peer, name: &str) {
    let about = regions.register_passed(peer, name, memory(4096)).unwrap();
    let mut held = regions.lock();
    let Passed { owner, region } = held.passed.remove(&about.name).unwrap();
    let own = held.own.entry(owner).or_default();
    own.regions.insert(name.to_owned(), region);
}

#[test]
fn a_caller_of_another_machine_has_no_memory_here() {
    let regions = regions();
    for far in ["10.0.0.1", "2001:db8::1"] {
        let far = ip(far);
        let wanted = Registration {
            name: "cam",
            key: "/x",
            offset: 0,
            byte_size: 1,
        };
        let near = regions.register_passed(&ip("127.0.0.1"), "x", memory(64));
        let id = near.unwrap().name;
        let refusals = [
            regions.register(&far, &wanted).map(|_| ()).unwrap_err(),
            regions
                .register_passed(&far, "x", memory(1))
                .map(|_| ())
                .unwrap_err(),
            regions.list(&far).map(|_| ()).unwrap_err(),
            regions.unregister(&far, "cam").unwrap_err(),
            regions.unregister_all(&far).map(|_| ()).unwrap_err(),
            // Also one whose id it was told.
            regions.slot(&far, &id, 0, 1).map(|_| ()).unwrap_err(),
            regions.write(&far, &id, 0, b"x").unwrap_err(),
        ];
        for refusal in refusals {
            assert!(matches!(refusal, RegionError::Denied(_)), "{refusal}");
        }
    }
}

#[test]
fn a_region_is_forgotten_a_minute_after_its_owners_last_connection() {
    let regions = regions();
    let (stays, goes) = (ip("127.0.0.1"), peer(Origin::User { uid: 7 }));
    for peer in [&stays, &goes] {
        register(&regions, peer, "cam");
    }
    let start = Instant::now();
    let at = |s| start + Duration::from_secs(s);
    let all = |_| true;
    let one = |origin| stays.origin() == Some(origin);
    for (s, connected) in [
        (0, true),
        (10, false),
        (60, false),
        (61, true),
        (70, false),
        (129, false),
    ] {
        match connected {
            true => regions.attend(at(s), all),
            false => regions.attend(at(s), one),
        }
        assert_eq!(regions.list(&goes).unwrap().len(), 1, "after {s} s");
    }
    regions.attend(at(130), one);
    assert_eq!(regions.list(&goes).unwrap().len(), 0);
    assert_eq!(regions.list(&stays).unwrap().len(), 1);
    assert!(!regions.lock().own.contains_key(&Owner::of(&goes).unwrap()));
}

#[test]
fn only_who_is_gone_makes_room_for_others() {
    let regions = Regions::new(&SharedMemorySettings {
        regions: 1,
        ..SharedMemorySettings::default()
    });
    let (streams, comes) = (ip("127.0.0.1"), peer(Origin::User { uid: 7 }));
    // It has no name, as a file that its owner has unlinked.
    register(&regions, &streams, "cam");
    regions.attend(Instant::now(), |_| true);
    let refused = regions.register_passed(&comes, "x", memory(64));
    assert!(matches!(refused.unwrap_err(), RegionError::Full(_)));
    assert_eq!(regions.list(&streams).unwrap().len(), 1);
    regions.attend(Instant::now(), |_| false);
    regions.register_passed(&comes, "x", memory(64)).unwrap();
    assert_eq!(regions.list(&streams).unwrap().len(), 0);
}

#[test]
fn an_answer_is_written_inside_the_region_or_not_at_all() {
    let regions = regions();
    let here = ip("127.0.0.1");
    let about = regions.register_passed(&here, "x", memory(5000)).unwrap();
    let name = &about.name;
    regions.write(&here, name, 4998, b"ab").unwrap();
    let slot = regions.slot(&here, name, 4996, 4).unwrap();
    assert_eq!(&slot.bytes()[..], b"\0\0ab");
    for (offset, bytes) in [(4999, &b"ab"[..]), (5000, b"a"), (u64::MAX, b"a")] {
        let refused = regions.write(&here, name, offset, bytes).unwrap_err();
        assert!(matches!(refused, RegionError::Invalid(_)), "{refused}");
    }
    regions.write(&here, name, 5000, b"").unwrap();
}

#[test]
fn memory_that_was_passed_for_reading_is_not_written() {
    let file = memory(64);
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let file = std::fs::File::open(path).unwrap();
    let regions = regions();
    let here = ip("127.0.0.1");
    let about = regions.register_passed(&here, "x", file.into()).unwrap();
    assert!(!about.writable);
    let refused = regions.write(&here, &about.name, 0, b"x").unwrap_err();
    assert!(matches!(refused, RegionError::Denied(_)), "{refused}");
}

#[test]
fn memory_that_is_sealed_against_new_writers_is_read() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("test", flags).unwrap();
    ftruncate(&file, 64).unwrap();
    rustix::io::pwrite(&file, b"seen", 0).unwrap();
    fcntl_add_seals(&file, SealFlags::FUTURE_WRITE).unwrap();
    let regions = regions();
    let here = ip("127.0.0.1");
    let about = regions.register_passed(&here, "x", file).unwrap();
    assert!(!about.writable);
    let slot = regions.slot(&here, &about.name, 0, 4).unwrap();
    assert_eq!(&slot.bytes()[..], b"seen");
    let refused = regions.write(&here, &about.name, 0, b"x").unwrap_err();
    assert!(matches!(refused, RegionError::Denied(_)), "{refused}");
}

/// An answer goes the way of any other program's write: what forbids that forbids it too.
#[test]
fn memory_that_is_sealed_after_it_was_passed_is_not_written() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("test", flags).unwrap();
    ftruncate(&file, 64).unwrap();
    let regions = regions();
    let here = ip("127.0.0.1");
    let own = file.try_clone().unwrap();
    let about = regions.register_passed(&here, "x", own).unwrap();
    let slot = regions.slot(&here, &about.name, 0, 1).unwrap();
    regions.write(&here, &about.name, 0, b"a").unwrap();
    assert_eq!(&slot.bytes()[..], b"a");
    fcntl_add_seals(&file, SealFlags::FUTURE_WRITE).unwrap();
    let refused = regions.write(&here, &about.name, 0, b"b").unwrap_err();
    assert!(matches!(refused, RegionError::Broken(_)), "{refused}");
    assert_eq!(&slot.bytes()[..], b"a");
}

#[test]
fn memory_whose_descriptor_appends_is_not_written() {
    let file = memory(64);
    fcntl_setfl(&file, OFlags::APPEND).unwrap();
    let regions = regions();
    let here = ip("127.0.0.1");
    let about = regions.register_passed(&here, "x", file).unwrap();
    assert!(!about.writable);
}

#[test]
fn memory_is_unmapped_where_nobody_waits() {
    let is_mapped = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.contains("memfd:unmapped-elsewhere")
    };
    let file = memfd_create("unmapped-elsewhere", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, 64).unwrap();
    let regions = regions();
    let about = regions.register_passed(&ip("127.0.0.1"), "x", file);
    let id = about.unwrap().name;
    // Every thread of the work pool is held up, so that nothing is done there meanwhile.
    let workers = rayon::current_num_threads();
    let together = Arc::new(Barrier::new(workers + 1));
    for _ in 0..workers {
        let together = Arc::clone(&together);
        rayon::spawn(move || {
            together.wait();
            together.wait();
        });
    }
    together.wait();
    regions.forget_passed(&id);
    assert!(is_mapped());
    together.wait();
    let start = Instant::now();
    while is_mapped() {
        assert!(start.elapsed() < Duration::from_secs(60), "still mapped");
        std::thread::yield_now();
    }
}

#[test]
fn a_file_that_was_cut_off_is_not_made_longer_by_an_answer() {
    let file = memory(8192);
    let regions = regions();
    let here = ip("127.0.0.1");
    let own = file.try_clone().unwrap();
    let about = regions.register_passed(&here, "x", own).unwrap();
    ftruncate(&file, 4096).unwrap();
    for offset in [0, 8000] {
        let refused = regions.write(&here, &about.name, offset, b"x").unwrap_err();
        assert!(matches!(refused, RegionError::Broken(_)), "{refused}");
    }
    assert_eq!(rustix::fs::fstat(&file).unwrap().st_size, 4096);
}

#[test]
fn a_write_into_memory_that_is_gone_is_an_error() {
    let file = memory(1 << 16);
    let regions = regions();
    let here = ip("127.0.0.1");
    let own = file.try_clone().unwrap();
    let about = regions.register_passed(&here, "x", own).unwrap();
    let name = &about.name;
    let slot = regions.slot(&here, name, 0, 1 << 16).unwrap();
    ftruncate(&file, 0).unwrap();
    assert_eq!(
        slot.bytes()
            .iter()
            .map(|&byte| u64::from(byte))
            .sum::<u64>(),
        0
    );
    assert!(slot.check().is_err());
    // It has grown again, and is still not what it was.
    ftruncate(&file, 1 << 16).unwrap();
    assert!(slot.check().is_err());
    let refused = regions.write(&here, name, 0, b"x").unwrap_err();
    assert!(matches!(refused, RegionError::Broken(_)), "{refused}");
}

/// A child of this test reads memory of its own that is gone, with our handler in place: it must end as any process would.
#[test]
fn memory_that_is_not_ours_ends_the_process_as_ever() {
    const CHILD: &str = "CELLSEGD_TEST_SIGBUS";
    if std::env::var_os(CHILD).is_some() {
        let regions = regions();
        let here = ip("127.0.0.1");
        regions.register_passed(&here, "x", memory(64)).unwrap();
        let file = memory(4096);
        // SAFETY: a new mapping of our own.
        let pages = unsafe {
            mmap(
                std::ptr::null_mut(),
                4096,
                ProtFlags::READ,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        ftruncate(&file, 0).unwrap();
        // SAFETY: it is mapped; that it cannot be read is what the test is about.
        let byte = unsafe { pages.unwrap().cast::<u8>().read_volatile() };
        // Not reached.
        std::process::exit(i32::from(byte));
    }
    let name = "server::shm::tests::memory_that_is_not_ours_ends_the_process_as_ever";
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert_eq!(ended.status.signal(), Some(libc::SIGBUS), "{ended:?}");
}
