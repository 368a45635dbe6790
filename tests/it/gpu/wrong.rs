//! Wrong files, wrong libraries, wrong machines: each is told what it is and what would be right.

use std::fs;

use super::{
    machine::{Machine, RTX, TRT_10, TRT_11, Trt},
    models,
    same_cells::{assert_same, cells},
};

const PLAN: &str = "tensorrt=10.3.0\ncompute=8.9";

const WITHOUT_RUNTIME: Trt = Trt {
    folder: "trt10_without_runtime",
    name: "TensorRT 10.3.0",
};

/// `serve` refuses this engine, and says all of these words.
fn refused(machine: &Machine, engine: &[u8], words: &[&str]) {
    let path = machine.path("cell.engine");
    fs::write(&path, engine).unwrap();
    let said = machine.fails(78, &["serve", "--model", path.to_str().unwrap()]);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    machine.assert_nothing_is_left();
}

#[test]
fn an_engine_that_is_none_here_is_told_why() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let plan = models::plan(PLAN);
    let other = |keys: &str| models::plan(keys);
    refused(&machine, &plan[..plan.len() / 2], &["cell.engine"]);
    refused(
        &machine,
        &other("tensorrt=10.9.0\ncompute=8.9"),
        &["10.9.0", "10.3.0", "cellsegd engine build"],
    );
    refused(
        &machine,
        &other("tensorrt=10.3.0\ncompute=7.5"),
        &["7.5", "8.9", "cellsegd engine build"],
    );
    refused(&machine, models::ONNX, &["ONNX", "cellsegd engine build"]);
    refused(&machine, &[0x55; 4096], &["cell.engine"]);
    refused(
        &machine,
        &other(&format!("{PLAN}\nrename.images=picture\noutput=int32")),
        &["cell.engine", "output0"],
    );
}

#[test]
fn the_tensors_that_an_engine_should_not_have_are_named() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let machine = machine.with_fault("wrong_tensor");
    refused(&machine, &models::plan(PLAN), &["output0", "8400"]);
    // Two names are what the transposed head would need to pass for an end-to-end one.
    let manifest = machine.path("cell.engine.toml");
    fs::write(manifest, "classes = [\"cell\", \"nucleus\"]\n").unwrap();
    refused(&machine, &models::plan(PLAN), &["output0", "8400"]);
}

#[test]
fn inspect_says_yes_only_of_what_a_daemon_would_run() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    for keys in [
        format!("{PLAN}\noutput=int32"),
        "tensorrt=10.9.0\ncompute=8.9".to_owned(),
    ] {
        let engine = machine.engine(&keys);
        let said = machine.fails(1, &["engine", "inspect", engine.to_str().unwrap()]);
        assert!(
            said.contains("no: ") && !said.contains("yes"),
            "{keys}: {said}"
        );
    }
}

#[test]
fn an_engine_that_another_machine_built_is_told_before_it_is_loaded() {
    let (Some(there), Some(here)) = (Machine::new(TRT_10), Machine::new(TRT_10)) else {
        return;
    };
    let onnx = there.path("cell.onnx");
    fs::write(&onnx, models::ONNX).unwrap();
    let engine = there.path("cell.engine");
    there.ok(&[
        "engine",
        "build",
        onnx.to_str().unwrap(),
        "-o",
        engine.to_str().unwrap(),
    ]);
    let here = here.with("CELLSEGD_FAKE_DEVICES", "7.5");
    let said = here.fails(78, &["serve", "--model", engine.to_str().unwrap()]);
    let again = format!(
        "cellsegd engine build {} -o {}",
        onnx.display(),
        engine.display()
    );
    for word in ["8.9", "7.5", &again] {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert_eq!(here.count("deserializeCudaEngine"), 0);
    for trt in [TRT_11, RTX] {
        let here = Machine::new(trt).expect("it was built");
        let said = here.fails(78, &["serve", "--model", engine.to_str().unwrap()]);
        for word in ["TensorRT 10.3.0", trt.name, "cellsegd engine build"] {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
        assert_eq!(here.count("deserializeCudaEngine"), 0);
    }
}

#[test]
fn a_library_that_lacks_a_symbol_is_named() {
    let Some(machine) = Machine::new(WITHOUT_RUNTIME) else {
        return;
    };
    refused(
        &machine,
        &models::plan(PLAN),
        &["libnvinfer.so.10", "createInferRuntime_INTERNAL"],
    );
}

#[test]
fn a_driver_that_is_too_old_is_told() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let machine = machine.with_fault("driver:11040");
    refused(&machine, &models::plan(PLAN), &["11.4", "12.2"]);
    let doctor = machine.ok(&["doctor"]);
    assert!(doctor.contains("11.4"), "{doctor}");
}

#[test]
fn a_machine_whose_gpu_is_gone_is_told() {
    for (fault, word) in [
        ("no_device", "no"),
        ("init:803", "reboot"),
        ("init:999", "CUDA_ERROR_UNKNOWN"),
    ] {
        let Some(machine) = Machine::new(TRT_10) else {
            return;
        };
        let machine = machine.with_fault(fault);
        refused(&machine, &models::plan(PLAN), &[word]);
        // Without an engine nothing needs a GPU.
        machine.ok(&["doctor"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_gpus_one_is_chosen_by_index_or_uuid() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let machine = machine.with("CELLSEGD_FAKE_DEVICES", "7.5,8.9");
    let engine = machine.engine(PLAN);
    let engine = engine.to_str().unwrap();
    let frames = &models::frames()[..1];
    for wanted in ["1", "GPU-fa6e0000-0000-0000-0000-000000000001"] {
        let config = machine.path("cellsegd.toml");
        fs::write(&config, format!("[gpu]\ndevice = \"{wanted}\"\n")).unwrap();
        let served = machine
            .serve(&["--config", config.to_str().unwrap(), "--model", engine])
            .await;
        let (_, opened) = served.open(Default::default()).await;
        assert!(
            opened.device.contains("Emulated GPU 1"),
            "{}",
            opened.device
        );
        cells(&served, frames).await;
        served.stop();
    }
    for (wanted, words) in [
        ("0", &["7.5", "8.9"][..]),
        ("2", &["Emulated GPU 0", "Emulated GPU 1"]),
        ("GPU-fa6e", &["more than one"]),
    ] {
        let config = machine.path("cellsegd.toml");
        fs::write(&config, format!("[gpu]\ndevice = \"{wanted}\"\n")).unwrap();
        let config = config.to_str().unwrap();
        let said = machine.fails(78, &["serve", "--config", config, "--model", engine]);
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
    }
}

#[test]
fn rtx_does_not_build_for_a_gpu_that_is_not_there() {
    let Some(machine) = Machine::new(RTX) else {
        return;
    };
    let onnx = machine.path("cell.onnx");
    fs::write(&onnx, models::ONNX).unwrap();
    let engine = machine.path("cell.engine");
    let build = [
        "engine",
        "build",
        onnx.to_str().unwrap(),
        "-o",
        engine.to_str().unwrap(),
    ];
    let wrong = machine.with("CELLSEGD_GPU__DEVICE", "7");
    let said = wrong.run(&build);
    let words = super::machine::words(&said);
    assert!(!said.status.success(), "{words}");
    assert!(words.contains("gpu.device = \"7\""), "{words}");
    assert!(!engine.exists());
}

#[test]
fn an_engine_runs_by_the_library_that_built_it() {
    let (Some(first), Some(older)) = (Machine::new(TRT_11), Machine::new(TRT_10)) else {
        return;
    };
    let engine = first.path("cell.engine");
    let onnx = first.path("cell.onnx");
    fs::write(&onnx, models::ONNX).unwrap();
    older.ok(&[
        "engine",
        "build",
        onnx.to_str().unwrap(),
        "-o",
        engine.to_str().unwrap(),
    ]);
    // As the loader finds them both, the newer one first.
    let both = first.with_libraries(&["cuda", "trt11", "trt10"]);
    let doctor = both.ok(&["doctor", "--model", engine.to_str().unwrap()]);
    for words in [
        "used for engines, unless another one of these built them",
        "by  TensorRT 10.3.0",
    ] {
        assert!(doctor.contains(words), "{words}: {doctor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cpu_stands_in_only_where_the_settings_allow_it_and_says_so() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    fs::write(machine.path("cell.onnx"), models::ONNX).unwrap();
    let machine = machine.with_fault("no_device");
    let engine = machine.engine(PLAN);
    let engine = engine.to_str().unwrap();
    machine.fails(78, &["serve", "--model", engine]);
    let machine = machine.with("CELLSEGD_GPU__FALLBACK", "cpu");
    let served = machine.serve(&["--model", engine]).await;
    let (_, opened) = served.open(Default::default()).await;
    assert!(
        opened
            .backend
            .starts_with("CPU instead of cell.engine on a GPU"),
        "{}",
        opened.backend
    );
    assert_eq!(served.health("cell").await, Ok(1));
    assert_eq!(served.health("cell/gpu").await, Ok(2));
    let frames = &models::frames()[..1];
    let found = cells(&served, frames).await;
    let log = served.stop().1;
    assert!(log.contains("WARN"), "{log}");
    let cpu = machine.serve_on_cpu().await;
    assert_same(&found, &cells(&cpu, frames).await);
}
