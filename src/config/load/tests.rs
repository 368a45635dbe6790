use super::*;
use crate::config::LimitSettings;

fn load(
    toml: &str,
    environment: &[(&str, &str)],
    overrides: Overrides,
) -> Result<Settings, String> {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(&file, toml).unwrap();
    let environment = environment
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    Settings::from_sources(Some(file.path()), environment, &overrides)
        .map_err(|error| error.to_string())
}

fn listening(text: &str) -> Vec<Listen> {
    vec![text.parse().unwrap()]
}

#[test]
fn nothing_said_gives_the_defaults() {
    assert_eq!(load("", &[], Overrides::default()), Ok(Settings::default()));
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let toml =
        "lanes = 2\nio_threads = 2\nlisten = ['unix:///file']\n[limits]\nwindow = 2\nsessions = 2";
    let environment = [
        ("CELLSEGD_LANES", "3"),
        ("CELLSEGD_LISTEN", "unix:///environment"),
        ("CELLSEGD_LIMITS__WINDOW", "3"),
    ];
    let overrides = Overrides {
        lanes: Some(4),
        listen: listening("unix:///flag"),
        ..Overrides::default()
    };
    let settings = load(toml, &environment, overrides).unwrap();
    assert_eq!(
        (settings.lanes, settings.listen),
        (4, listening("unix:///flag"))
    );
    assert_eq!(
        (
            settings.io_threads,
            settings.limits.window,
            settings.limits.sessions
        ),
        (2, 3, 2)
    );
    assert_eq!(settings.limits.max_side, LimitSettings::default().max_side);
}

#[test]
fn lists_in_the_environment_are_separated_by_commas() {
    let environment = [
        ("CELLSEGD_LISTEN", "tcp://127.0.0.1:1,unix:///s"),
        ("CELLSEGD_MODELS", "a.onnx,b.onnx"),
    ];
    let settings = load("", &environment, Overrides::default()).unwrap();
    let listen: Vec<String> = settings.listen.iter().map(Listen::to_string).collect();
    assert_eq!(listen, ["tcp://127.0.0.1:1", "unix:///s"]);
    assert_eq!(settings.models, [PathBuf::from("a.onnx"), "b.onnx".into()]);
}

#[test]
fn a_quiet_command_still_logs_what_it_is_told_to() {
    let quiet = || Overrides {
        quiet: true,
        ..Overrides::default()
    };
    assert_eq!(load("", &[], quiet()).unwrap().log.filter, "warn");
    let environment = [("CELLSEGD_LOG__FILTER", "debug")];
    assert_eq!(load("", &environment, quiet()).unwrap().log.filter, "debug");
}

#[test]
fn names_that_are_not_settings_are_left_alone() {
    let environment = [
        ("CELLSEGD_DEMO", "/frames"),
        ("CELLSEGD_SERVICE_HOST", "10.0.0.1"),
        ("CELLSEGD_PORT", "tcp://10.0.0.1:50051"),
        ("PATH", "/bin"),
    ];
    assert_eq!(
        load("", &environment, Overrides::default()),
        Ok(Settings::default())
    );
}

#[test]
fn settings_are_written_as_they_are_read() {
    let settings = Settings {
        listen: vec![
            "tcp://127.0.0.1:7".parse().unwrap(),
            "unix:///s".parse().unwrap(),
        ],
        models: vec!["a.onnx".into()],
        ..Settings::default()
    };
    let written = toml::to_string(&settings).unwrap();
    assert_eq!(load(&written, &[], Overrides::default()), Ok(settings));
}

#[test]
fn what_is_wrong_is_named_with_what_would_be_right() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case; 22] = [
        ("lane = 3", &[], &["`lane`", "`lanes`"]),
        (
            "[limits]\nmaxside = 1",
            &[],
            &["`maxside`", "`max_side`", "limits"],
        ),
        (
            "lanes = 'many'",
            &[],
            &["`lanes`", "many", "integer", ".toml"],
        ),
        ("lanes = -1", &[], &["`lanes`", "-1", "unsigned"]),
        ("lanes = 0", &[], &["lanes = 0", "1 to 64"]),
        ("io_threads = 0", &[], &["io_threads = 0", "1 to 64"]),
        ("listen = []", &[], &["listen", "at least one"]),
        (
            "listen = ['tcp://x']",
            &[],
            &["listen[0]", "tcp://x", "tcp://127.0.0.1:50051"],
        ),
        (
            "listen = ['tcp://0.0.0.0:1']",
            &[],
            &["tcp://0.0.0.0:1", "loopback", "insecure = true"],
        ),
        ("listen = [", &[], &["line 1", ".toml"]),
        (
            "engine.kind = 'gpu'",
            &[],
            &["engine.kind", "gpu", "auto, rten or onnxruntime"],
        ),
        (
            "gpu.device = 'first'",
            &[],
            &["gpu.device", "first", "index", "GPU-", "doctor"],
        ),
        (
            "",
            &[("CELLSEGD_GPU__MEMORY_LIMIT_MIB", "99999999999999999999")],
            &["gpu.memory_limit_mib = ", "0 to 16777216"],
        ),
        (
            "gpu.wait = 'a bit'",
            &[],
            &["gpu.wait", "a bit", "auto, spin or block"],
        ),
        (
            "gpu.fallback = 'yes'",
            &[],
            &["gpu.fallback", "yes", "never or cpu"],
        ),
        (
            "log.format = 'xml'",
            &[],
            &["log.format", "xml", "text, json or journald"],
        ),
        (
            "log.filter = 'cellsegd=loud'",
            &[],
            &["log.filter", "loud", "cellsegd=debug"],
        ),
        (
            "limits.window = 0",
            &[],
            &["limits.window = 0", "1 to 1024"],
        ),
        (
            "limits.frames_in_flight_bytes = 5",
            &[],
            &["limits.frames_in_flight_bytes = 5", "max_frame_bytes"],
        ),
        (
            "limits.max_frame_bytes = 0",
            &[],
            &["limits.max_frame_bytes = 0", "1 to"],
        ),
        (
            "",
            &[("CELLSEGD_LIMITS__MAX_SIDE", "big")],
            &["limits.max_side", "big", "environment"],
        ),
        ("", &[("CELLSEGD_LIMIT", "9")], &["`limit`", "`limits`"]),
    ];
    for (toml, environment, words) in cases {
        let error = load(toml, environment, Overrides::default()).expect_err(toml);
        for word in words {
            assert!(
                error.contains(word),
                "{toml} {environment:?}: {word} is not in: {error}"
            );
        }
    }
}

#[test]
fn all_interfaces_may_be_listened_on_when_that_is_said() {
    let settings = load(
        "listen = ['tcp://0.0.0.0:1']\ninsecure = true",
        &[],
        Overrides::default(),
    )
    .unwrap();
    assert_eq!(settings.exposed().count(), 1);
}

#[test]
fn a_gpu_is_chosen_by_a_number_too() {
    for (toml, environment) in [
        ("gpu.device = 1", None),
        ("", Some(("CELLSEGD_GPU__DEVICE", "1"))),
        ("gpu.device = '1'", None),
    ] {
        let environment: Vec<_> = environment.into_iter().collect();
        let settings = load(toml, &environment, Overrides::default()).unwrap();
        assert_eq!(settings.gpu.device, "1", "{toml} {environment:?}");
    }
}
