//! A driver that does not start, in words that say what to do.

use std::{env, ffi::OsStr, fs, path::Path};

use cudarc::driver::sys::cudaError_enum as Code;

use super::NoGpu;
use crate::backend::cuda::driver::CudaError;

/// What this machine shows of its driver without being asked by CUDA.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// Version of the kernel module that is loaded.
    kernel: Option<String>,
    /// Version of the library, by its file's name.
    pub library: Option<String>,
    /// `/dev/nvidia0`, or any other.
    device_file: bool,
    /// `/dev/nvidia-uvm`.
    uvm_file: bool,
    /// Linux inside Windows.
    wsl: bool,
    /// A Jetson: its driver is built otherwise.
    tegra: bool,
    /// `CUDA_VISIBLE_DEVICES`.
    visible: Option<String>,
}

impl Surroundings {
    pub(super) fn look(library: Option<&Path>) -> Self {
        let dev = fs::read_dir("/dev").into_iter().flatten().flatten();
        let is_device = |name: &OsStr| {
            let name = name.to_string_lossy();
            name.strip_prefix("nvidia").is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
            })
        };
        Surroundings {
            kernel: fs::read_to_string("/proc/driver/nvidia/version")
                .ok()
                .and_then(|text| kernel_version(&text)),
            library: library.and_then(library_version),
            device_file: dev
                .map(|entry| entry.file_name())
                .any(|name| is_device(&name)),
            uvm_file: Path::new("/dev/nvidia-uvm").exists(),
            wsl: Path::new("/dev/dxg").exists(),
            tegra: Path::new("/etc/nv_tegra_release").exists(),
            visible: env::var("CUDA_VISIBLE_DEVICES").ok(),
        }
    }
}

/// "550.54.14" of the first line, in which nothing else has a dot between digits.
fn kernel_version(text: &str) -> Option<String> {
    let mut words = text.lines().next()?.split_whitespace();
    words.find(|word| is_version(word)).map(str::to_owned)
}

/// "550.54.14" of `libcuda.so.550.54.14`; a Jetson's `libcuda.so.1.1` says nothing.
fn library_version(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let version = name.strip_prefix("libcuda.so.")?;
    is_version(version).then(|| version.to_owned())
}

/// Drivers count from the hundreds.
fn is_version(word: &str) -> bool {
    let major = word.split('.').next().unwrap_or_default();
    major.len() >= 3
        && word.contains('.')
        && word
            .split('.')
            .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Why CUDA does not start, and what to do.
pub(super) fn explain(error: &CudaError, here: &Surroundings) -> NoGpu {
    let is = |code: Code| error.code == code as u32;
    let unusable = |text: String| NoGpu::Unusable(format!("{text} ({error})"));
    // What the code alone tells comes first: with cuda-compat the versions differ on a machine that is well.
    if is(Code::CUDA_ERROR_STUB_LIBRARY) {
        return unusable(
            "the CUDA toolkit's stub of libcuda was loaded instead of the driver's library: take the toolkit's stubs folder \
             out of LD_LIBRARY_PATH"
                .to_owned(),
        );
    }
    if is(Code::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE) {
        return unusable(
            "a CUDA compatibility library (cuda-compat) stands before the driver's own and does not suit this GPU: take it \
             out of LD_LIBRARY_PATH"
                .to_owned(),
        );
    }
    if is(Code::CUDA_ERROR_NO_DEVICE)
        && let Some(visible) = &here.visible
    {
        return unusable(format!(
            "CUDA_VISIBLE_DEVICES={visible:?} leaves no GPU visible: unset it or correct it"
        ));
    }
    let versions = here.kernel.as_ref().zip(here.library.as_ref());
    let updated = versions.filter(|(kernel, library)| kernel != library);
    if is(Code::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH) || updated.is_some() {
        let of = |version: &Option<String>| version.clone().unwrap_or_else(|| "unknown".to_owned());
        return unusable(format!(
            "the NVIDIA driver was updated while it was running: its kernel module is version {}, its library {}: reboot",
            of(&here.kernel),
            of(&here.library)
        ));
    }
    if is(Code::CUDA_ERROR_NO_DEVICE) {
        if here.wsl || here.tegra {
            return unusable("the NVIDIA driver shows no GPU".to_owned());
        }
        return match (&here.kernel, here.device_file) {
            (None, _) => NoGpu::Absent(
                "no GPU: the NVIDIA driver's library is installed, its kernel module is not loaded; if there is a GPU, see \
                 `sudo dmesg | grep -i nvidia`, and reboot after installing a driver"
                    .to_owned(),
            ),
            (Some(_), false) => unusable(
                "there are no device files /dev/nvidia*: in a container, give it the GPU (docker run --gpus all); else run \
                 `sudo nvidia-modprobe -u -c=0`"
                    .to_owned(),
            ),
            (Some(_), true) => unusable("the NVIDIA driver shows no GPU".to_owned()),
        };
    }
    if is(Code::CUDA_ERROR_SYSTEM_NOT_READY) {
        return unusable(
            "the GPU's system is not ready: on a machine with NVSwitch start nvidia-fabricmanager, of the driver's version"
                .to_owned(),
        );
    }
    if is(Code::CUDA_ERROR_DEVICE_UNAVAILABLE) {
        return unusable(
            "another process holds the GPU alone: end it, or set the compute mode back (nvidia-smi -c DEFAULT)".to_owned(),
        );
    }
    if !here.uvm_file && !here.wsl && !here.tegra && here.kernel.is_some() {
        return unusable(
            "the device file /dev/nvidia-uvm is missing, as after a boot without a display: run `sudo nvidia-modprobe -u -c=0` \
             at every boot; a service with NoNewPrivileges cannot make it itself"
                .to_owned(),
        );
    }
    unusable("the NVIDIA driver does not start".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Surroundings {
        Surroundings {
            kernel: Some("550.54.14".to_owned()),
            library: Some("550.54.14".to_owned()),
            device_file: true,
            uvm_file: true,
            ..Surroundings::default()
        }
    }

    fn with(change: impl FnOnce(&mut Surroundings)) -> Surroundings {
        let mut here = healthy();
        change(&mut here);
        here
    }

    fn compat(here: &mut Surroundings) {
        here.library = Some("560.28.03".to_owned());
    }

    #[test]
    fn each_trouble_is_told_what_helps() {
        let cases = [
            (803, healthy(), vec!["550.54.14", "reboot"]),
            (
                999,
                with(|here| here.library = Some("560.28.03".to_owned())),
                vec!["module is version 550.54.14", "library 560.28.03", "reboot"],
            ),
            (804, healthy(), vec!["cuda-compat", "LD_LIBRARY_PATH"]),
            // A library of another version than the kernel module is what cuda-compat is.
            (804, with(compat), vec!["cuda-compat", "LD_LIBRARY_PATH"]),
            (34, with(compat), vec!["stub", "LD_LIBRARY_PATH"]),
            (
                100,
                with(|here| {
                    compat(here);
                    here.visible = Some(String::new());
                }),
                vec!["CUDA_VISIBLE_DEVICES=\"\""],
            ),
            (802, healthy(), vec!["nvidia-fabricmanager"]),
            (34, healthy(), vec!["stub", "LD_LIBRARY_PATH"]),
            (46, healthy(), vec!["nvidia-smi -c DEFAULT"]),
            (
                100,
                with(|here| here.visible = Some(String::new())),
                vec!["CUDA_VISIBLE_DEVICES=\"\""],
            ),
            (
                100,
                with(|here| here.device_file = false),
                vec!["--gpus all", "nvidia-modprobe"],
            ),
            (
                100,
                with(|here| here.kernel = None),
                vec!["kernel module is not loaded"],
            ),
            (100, healthy(), vec!["shows no GPU"]),
            (
                999,
                with(|here| here.uvm_file = false),
                vec!["/dev/nvidia-uvm", "NoNewPrivileges"],
            ),
            (
                999,
                with(|here| (here.uvm_file, here.kernel, here.tegra) = (false, None, true)),
                vec!["does not start", "999"],
            ),
            (999, healthy(), vec!["does not start", "999"]),
        ];
        for (code, here, words) in cases {
            let error = CudaError {
                call: "cuInit",
                code,
                detail: String::new(),
            };
            let text = explain(&error, &here).to_string();
            for word in words {
                assert!(text.contains(word), "{code}: {word} is not in: {text}");
            }
        }
    }

    #[test]
    fn a_library_without_a_kernel_module_means_that_there_is_no_gpu() {
        let error = CudaError {
            call: "cuInit",
            code: 100,
            detail: String::new(),
        };
        let why = explain(&error, &with(|here| here.kernel = None));
        assert!(matches!(why, NoGpu::Absent(_)), "{why:?}");
    }

    #[test]
    fn versions_are_read_where_nvidia_writes_them() {
        for (text, version) in [
            (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC version: 12.2.0",
                Some("550.54.14"),
            ),
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.28.03  Release Build",
                Some("560.28.03"),
            ),
            ("", None),
        ] {
            assert_eq!(kernel_version(text).as_deref(), version);
        }
        for (path, version) in [
            (
                "/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14",
                Some("550.54.14"),
            ),
            ("/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1.1", None),
            ("/x/libcuda.so.1", None),
        ] {
            assert_eq!(library_version(Path::new(path)).as_deref(), version);
        }
    }
}
