//! Traces by OTLP, where an operator asks for them: a span for each session, in it one for each frame, in that its stages.
//!
//! Spans are made when a frame's answer leaves, of the times that it carries: a daemon without traces pays nothing. They wait
//! in a bounded queue; what does not fit is lost, and nobody waits for the collector. The exporter has a thread and a runtime
//! of its own, so that the last spans can leave while the daemon's own runtime ends.

use std::{
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use tokio::{runtime, sync::oneshot};
use tracing::{info, warn};

/// Spans that wait for the collector.
const QUEUE: usize = 8192;

/// How often they leave.
const EVERY: Duration = Duration::from_secs(2);

/// How long the collector may take for a batch, and the last one at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where spans go; nowhere by default.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Collector>>);

struct Collector {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Of the exporter's thread, which ends when this is dropped.
    _end: oneshot::Sender<()>,
}

/// The trace that a call belongs to, by its client's word.
#[derive(Clone, Debug, Default)]
pub struct Parent(Context);

/// A session's span.
pub struct SessionTrace(Option<(Arc<Collector>, Context)>);

/// A frame, when its answer leaves.
#[derive(Debug)]
pub struct FrameTrace<'a> {
    /// The client's.
    pub id: u64,
    /// "segmented", "dropped", "failed".
    pub outcome: &'static str,
    /// The contract's word for why; empty where it was segmented.
    pub reason: &'static str,
    /// From its last byte to now.
    pub total: Duration,
    /// In the order in which they ran.
    pub stages: &'a [(&'static str, Duration)],
}

impl Traces {
    /// Spans go to the collector at `endpoint`, as `http://127.0.0.1:4317`. One that cannot be reached costs spans and a warning.
    pub fn to(endpoint: &str) -> Self {
        match Collector::new(endpoint) {
            Ok(collector) => {
                info!(endpoint, "traces");
                Traces(Some(Arc::new(collector)))
            }
            Err(why) => {
                warn!(endpoint, why, "no traces");
                Traces(None)
            }
        }
    }

    /// A session opens.
    pub fn session(&self, parent: &Parent, session: &str, name: &str, model: &str) -> SessionTrace {
        let opened = self.0.as_ref().map(|collector| {
            let span = collector
                .tracer
                .span_builder("session")
                .with_kind(SpanKind::Server)
                .with_attributes([
                    KeyValue::new("cellseg.session", session.to_owned()),
                    KeyValue::new("cellseg.session.name", name.to_owned()),
                    KeyValue::new("cellseg.model", model.to_owned()),
                ])
                .start_with_context(&collector.tracer, &parent.0);
            (Arc::clone(collector), parent.0.with_span(span))
        });
        SessionTrace(opened)
    }

    /// Sends what waits. Blocks, not for long.
    pub fn end(&self) {
        if let Some(collector) = &self.0
            && let Err(why) = collector.provider.shutdown_with_timeout(PATIENCE)
        {
            warn!(%why, "the last traces are lost");
        }
    }
}

impl Collector {
    fn new(endpoint: &str) -> Result<Self, String> {
        let (made, exporter) = std::sync::mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel();
        let endpoint = endpoint.to_owned();
        let run = move || {
            let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(why) => return drop(made.send(Err(why.to_string()))),
            };
            runtime.block_on(async {
                // The connection is made when it is first needed, on this runtime.
                let exporter = SpanExporter::builder()
                    .with_tonic()
                    .with_endpoint(endpoint)
                    .with_timeout(PATIENCE)
                    .build();
                let made = made.send(exporter.map_err(|why| why.to_string()));
                if made.is_ok() {
                    // An error means the same: the collector is gone.
                    let _ = ended.await;
                }
            });
        };
        thread::Builder::new()
            .name("traces".to_owned())
            .spawn(run)
            .map_err(|why| why.to_string())?;
        let exporter = exporter.recv().map_err(|why| why.to_string())??;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_scheduled_delay(EVERY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let resource = Resource::builder_empty()
            .with_service_name("cellsegd")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .build();
        Ok(Collector {
            tracer: provider.tracer("cellsegd"),
            provider,
            _end: end,
        })
    }
}

impl Parent {
    /// By W3C's `traceparent` and `tracestate`, as `header` finds them. Nonsense is none.
    pub fn of<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let found = Headers(["traceparent", "tracestate"].map(|name| (name, header(name))));
        // Not in the context of whoever polls us.
        Parent(TraceContextPropagator::new().extract_with_context(&Context::new(), &found))
    }
}

/// Two headers, as the propagator asks for them.
struct Headers<'a>([(&'static str, Option<&'a str>); 2]);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == key)?.1
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

impl SessionTrace {
    /// A frame's answer leaves now. Its stages are laid end to end from its arrival: their lengths are measured, the gaps
    /// between them are not.
    pub fn frame(&self, frame: &FrameTrace<'_>) {
        let Some((collector, session)) = &self.0 else {
            return;
        };
        if !session.span().span_context().is_sampled() {
            return;
        }
        let tracer = &collector.tracer;
        let end = SystemTime::now();
        let arrived = end.checked_sub(frame.total).unwrap_or(end);
        let mut span = tracer
            .span_builder("frame")
            .with_start_time(arrived)
            .with_attributes([
                KeyValue::new("cellseg.frame.id", frame.id.to_string()),
                KeyValue::new("cellseg.frame.outcome", frame.outcome),
                KeyValue::new("cellseg.frame.reason", frame.reason),
            ])
            .start_with_context(tracer, session);
        if frame.outcome == "failed" {
            span.set_status(Status::error(frame.reason));
        }
        let context = Context::new().with_remote_span_context(span.span_context().clone());
        let mut began = arrived;
        for (stage, time) in frame.stages {
            let ended = began + *time;
            tracer
                .span_builder(*stage)
                .with_start_time(began)
                .start_with_context(tracer, &context)
                .end_with_timestamp(ended);
            began = ended;
        }
        span.end_with_timestamp(end);
    }

    /// The session closes.
    pub fn end(&self) {
        if let Some((_, session)) = &self.0 {
            session.span().end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_what_w3c_says_or_none() {
        let parent = |text: &'static str| {
            let parent = Parent::of(|name| (name == "traceparent").then_some(text));
            parent.0.span().span_context().trace_id().to_string()
        };
        // The example of the recommendation.
        assert_eq!(
            parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            "0af7651916cd43dd8448eb211c80319c"
        );
        for nonsense in [
            "",
            "00",
            "00-xyz-1-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(parent(nonsense), "0".repeat(32), "{nonsense:?}");
        }
    }
}
