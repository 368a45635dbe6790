//! What the machine tells of itself: its GPUs, its thermal zones, its memory, this process.
//!
//! Whatever cannot be read is left out: a metric that is missing is better than a daemon that ends for one.

mod gpu;

use std::{fs, path::Path};

use rustix::process::{Resource, getrlimit};

pub use gpu::{Gpu, Gpus};

/// A thermal zone of the kernel; a Jetson's GPU is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    /// "gpu-thermal".
    pub name: String,
    /// Degrees.
    pub celsius: f64,
}

/// This process.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Process {
    pub(super) rss_bytes: u64,
    pub(super) fds: u64,
    pub(super) fds_limit: u64,
    pub(super) threads: u64,
    /// Seconds.
    pub(super) cpu_s: f64,
    /// Seconds since 1970.
    pub(super) started_s: f64,
}

/// Of times in /proc: the kernel's interface says 100 a second on every architecture that we build for.
const TICKS_A_SECOND: f64 = 100.0;

/// The kernel's thermal zones, in the order of their numbers.
pub fn sensors() -> Vec<Sensor> {
    sensors_in(Path::new("/sys/class/thermal"))
}

fn sensors_in(folder: &Path) -> Vec<Sensor> {
    let zones = (0..).map(|n| folder.join(format!("thermal_zone{n}")));
    let zones = zones.take_while(|zone| zone.exists());
    zones
        .enumerate()
        .filter_map(|(n, zone)| {
            let kind = fs::read_to_string(zone.join("type")).ok()?;
            // A zone whose sensor sleeps answers with an error.
            let milli: f64 = fs::read_to_string(zone.join("temp"))
                .ok()?
                .trim()
                .parse()
                .ok()?;
            Some(Sensor {
                name: format!("{n} {}", kind.trim()),
                celsius: milli / 1000.0,
            })
        })
        .collect()
}

/// Bytes that a program could still have, and all. On a Jetson they are the GPU's too.
pub(super) fn machine_memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    Some((kib(&text, "MemAvailable:")?, kib(&text, "MemTotal:")?))
}

pub(super) fn process() -> Option<Process> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = field(&machine, "btime")?.parse().ok()?;
    // The second field is the program's name in parentheses, which may hold spaces; those after it count from the third.
    let rest: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| rest.get(field - 3)?.parse::<f64>().ok();
    Some(Process {
        rss_bytes: kib(&status, "VmRSS:")?,
        fds: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        fds_limit: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        threads: field(&status, "Threads:")?.parse().ok()?,
        cpu_s: (ticks(14)? + ticks(15)?) / TICKS_A_SECOND,
        started_s: booted + ticks(22)? / TICKS_A_SECOND,
    })
}

/// The word after `name` at the beginning of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()
}

fn kib(text: &str, name: &str) -> Option<u64> {
    Some(field(text, name)?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn this_process_is_what_the_kernel_says() {
        let before = process().unwrap();
        let held: Vec<_> = (0..20)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        let with_files = process().unwrap();
        assert!(
            before.fds + 15 <= with_files.fds,
            "{before:?} {with_files:?}"
        );
        drop(held);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - before.started_s;
        // The clock may have been set since the boot, by little; a test runs for minutes at most.
        assert!(-60.0 < age && age < 3600.0, "{age}");
        assert!(1 << 20 < before.rss_bytes && 1 <= before.threads && 0.0 <= before.cpu_s);
        let (available, total) = machine_memory().unwrap();
        assert!(0 < available && available <= total && before.rss_bytes < total);
    }

    #[test]
    fn a_jetsons_sensors_are_read_and_one_that_sleeps_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for (n, kind, temp) in [
            (0, "cpu-thermal\n", Some("48281\n")),
            (1, "gpu-thermal\n", None),
            (2, "tj-thermal\n", Some("-500\n")),
        ] {
            let zone = folder.path().join(format!("thermal_zone{n}"));
            fs::create_dir(&zone).unwrap();
            fs::write(zone.join("type"), kind).unwrap();
            if let Some(temp) = temp {
                fs::write(zone.join("temp"), temp).unwrap();
            }
        }
        let sensor = |name: &str, celsius| Sensor {
            name: name.to_owned(),
            celsius,
        };
        assert_eq!(
            sensors_in(folder.path()),
            [
                sensor("0 cpu-thermal", 48.281),
                sensor("2 tj-thermal", -0.5)
            ]
        );
    }
}
