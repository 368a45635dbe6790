//! The machine's memory, as far as this process may have more of it.

use std::fs;

/// Bytes that could be had without swapping: of the machine, and within the group that the process was put in. None: the system
/// does not say.
pub(super) fn available_bytes() -> Option<u64> {
    let machine = of_machine(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.as_deref().and_then(group_path).and_then(of_group);
    Some(group.map_or(machine, |group| machine.min(group)))
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Of the one hierarchy of version 2.
fn group_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// What systemd's MemoryMax leaves. What the group holds of files is given back when it is needed.
fn of_group(path: &str) -> Option<u64> {
    let folder = format!("/sys/fs/cgroup{path}");
    let read = |name: &str| fs::read_to_string(format!("{folder}/{name}")).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    // "max" where there is no limit.
    let most = number("memory.max")?;
    let used = number("memory.current")?;
    let statistics = read("memory.stat").unwrap_or_default();
    let files = statistics
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok());
    Some((most + files.unwrap_or(0)).saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let meminfo =
            "MemTotal:       16265812 kB\nMemFree:         1 kB\nMemAvailable:   12000 kB\n";
        assert_eq!(of_machine(meminfo), Some(12000 << 10));
        assert_eq!(of_machine("MemTotal: 1 kB\n"), None);
        let groups = "1:name=systemd:/old\n0::/system.slice/cellsegd.service\n";
        assert_eq!(group_path(groups), Some("/system.slice/cellsegd.service"));
    }
}
