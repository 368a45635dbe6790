//! What models cost side by side, as people compare them: images a second, milliseconds an image, on which device.

use std::fmt::Write;

use serde::Serialize;

/// One model under load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Speed {
    /// Its name.
    pub model: String,
    /// Of its numbers.
    pub precision: String,
    /// Answered, all sessions together.
    pub images_per_s: f64,
    /// From a client's send to its answer, median; none if nothing was answered.
    pub ms_per_image: Option<f64>,
    /// Of it the network itself, median.
    pub network_ms: Option<f64>,
    /// What runs it.
    pub device: String,
    /// By what.
    pub backend: String,
}

/// Aligned lines for a person.
pub(super) fn table(lines: &[&Speed]) -> String {
    let longest = |words: &dyn Fn(&Speed) -> usize, heading: &str| {
        let lines = lines.iter().map(|line| words(line));
        lines.max().unwrap_or(0).max(heading.len())
    };
    let model = longest(&|line| line.model.chars().count(), "model");
    let device = longest(&|line| line.device.chars().count(), "device");
    let mut text = format!(
        "  {:<model$}  {:<9}{:>10}{:>10}{:>10}   {:<device$}   backend\n",
        "model", "precision", "images/s", "ms/image", "network", "device"
    );
    for line in lines {
        let ms = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms:.2}"));
        writeln!(
            text,
            "  {:<model$}  {:<9}{:>10.2}{:>10}{:>10}   {:<device$}   {}",
            line.model,
            line.precision,
            line.images_per_s,
            ms(line.ms_per_image),
            ms(line.network_ms),
            line.device,
            line.backend,
        )
        .expect("a String takes every write");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Speed, table};

    #[test]
    fn models_stand_side_by_side() {
        let speed = |model: &str, ms: Option<f64>| Speed {
            model: model.to_owned(),
            precision: "fp32".to_owned(),
            images_per_s: ms.map_or(0.0, |ms| 1000.0 / ms),
            ms_per_image: ms,
            network_ms: ms.map(|ms| ms / 2.0),
            device: "cpu (1 thread)".to_owned(),
            backend: "rten".to_owned(),
        };
        let lines = [speed("stem_cells_640", Some(12.5)), speed("slow", None)];
        assert_eq!(
            table(&[&lines[0], &lines[1]]),
            concat!(
                "  model           precision  images/s  ms/image   network   device           backend\n",
                "  stem_cells_640  fp32          80.00     12.50      6.25   cpu (1 thread)   rten\n",
                "  slow            fp32           0.00         -         -   cpu (1 thread)   rten\n",
            )
        );
    }
}
