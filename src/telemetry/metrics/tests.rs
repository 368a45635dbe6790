//! What is told, as Prometheus reads it.

use super::*;
use crate::telemetry::{Gpu, ModelLevels, Sensor};

#[test]
fn what_is_gone_is_told_no_more() {
    let metrics = Metrics::default();
    let model = |name: &str| ModelLevels {
        name: name.to_owned(),
        state: "serving",
        lanes: 2,
        ..Default::default()
    };
    let mut now = Levelled {
        models: vec![model("old"), model("kept")],
        ..Default::default()
    };
    metrics.observe(&now);
    assert!(
        metrics
            .text()
            .contains("cellsegd_lanes{model=\"old\"} 2.0\n")
    );
    now.models.remove(0);
    metrics.observe(&now);
    let text = metrics.text();
    assert!(!text.contains("old"), "{text}");
    for line in [
        "cellsegd_model_state{model=\"kept\",state=\"serving\"} 1.0",
        "cellsegd_model_state{model=\"kept\",state=\"down\"} 0.0",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

#[test]
fn times_are_seconds_in_buckets() {
    let metrics = Metrics::default();
    metrics.stage("cell", "infer", Duration::from_millis(20));
    metrics.frame("cell", "segmented", "");
    let text = metrics.text();
    for line in [
        "cellsegd_frame_stage_seconds_bucket{le=\"0.01\",model=\"cell\",stage=\"infer\"} 0",
        "cellsegd_frame_stage_seconds_bucket{le=\"0.025\",model=\"cell\",stage=\"infer\"} 1",
        "cellsegd_frames_total{model=\"cell\",outcome=\"segmented\",reason=\"\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

/// The dashboard names nothing that is not told.
#[test]
fn every_metric_of_the_dashboard_exists() {
    let metrics = Metrics::default();
    // Families tell nothing before somebody counts in them.
    metrics.stage("cell", "infer", Duration::from_millis(20));
    metrics.frame("cell", "segmented", "");
    metrics.reload("loaded");
    metrics.refuse(Bound::Sessions);
    metrics.observe(&Levelled {
        models: vec![ModelLevels::default()],
        gpus: vec![Gpu {
            memory_used: Some(1.0),
            memory_total: Some(2.0),
            celsius: Some(40.0),
            utilization: Some(0.5),
            watts: Some(30.0),
            ..Gpu::default()
        }],
        sensors: vec![Sensor {
            name: "0 cpu".to_owned(),
            celsius: 40.0,
        }],
        ..Levelled::default()
    });
    let text = metrics.text();
    let told: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let dashboard = include_str!("../../../deploy/grafana/cellsegd.json");
    let words = dashboard.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: Vec<&str> = words
        .filter(|word| word.starts_with("cellsegd_") || word.starts_with("process_"))
        .collect();
    assert!(40 < named.len(), "{named:?}");
    for name in named {
        assert!(told.contains(&name), "{name} is not in:\n{text}");
    }
}
