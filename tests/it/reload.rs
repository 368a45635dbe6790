//! Models that are exchanged while sessions use them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use cellsegd::{
    backend::{LaneError, fake, fake::FakeBackend},
    config::{AuthSettings, Grant, PriorityCap, ReloadMode, RoleLimits, Settings},
    inference::{ModelInferRequest, ModelStatisticsRequest},
    pool::LanePool,
    proto::{self as pb, stream_reply::Reply, stream_request::Request},
    server::{Ended, Found, Loader, Outlook, Reload, ReloadOutcome},
};

use crate::{
    client::{Session, frame, outcome},
    daemon::{Daemon, PATIENCE, let_it_be_read},
    inference, rest,
};

/// What the test puts on the disk: a name, and what becomes of it when it is looked at.
type Shelf = Mutex<Vec<(&'static str, Book)>>;

#[derive(Clone)]
enum Book {
    /// Of this identity: answers with so many cells, and knows so many classes.
    Good(&'static str, usize, usize),
    /// The same without a manifest: nothing is told of it by which it could be told from another.
    Bare(&'static str, usize),
    /// Its files cannot be read.
    Unreadable,
    /// It is read, and then does not load.
    TooLarge,
    /// It gives other cells every time.
    Mad,
    /// Its files are exchanged by those of another while they are read.
    Renamed,
}

#[derive(Default)]
struct Disk {
    shelf: Shelf,
    mode: Mutex<ReloadMode>,
    loads: AtomicUsize,
    /// The settings, or the folder of the models.
    is_bad: AtomicBool,
    is_unreadable: AtomicBool,
    auth: Mutex<AuthSettings>,
}

impl Disk {
    fn with(books: &[(&'static str, Book)]) -> Arc<Self> {
        let disk = Arc::new(Disk::default());
        disk.put(books);
        disk
    }

    fn put(&self, books: &[(&'static str, Book)]) {
        *self.shelf.lock().unwrap() = books.to_vec();
    }

    fn replaces(&self) {
        *self.mode.lock().unwrap() = ReloadMode::Replace;
    }
}

/// What the server gets.
struct Reads(Arc<Disk>);

impl Loader for Reads {
    fn settings(&self) -> Result<Settings, String> {
        if self.0.is_bad.load(Ordering::Relaxed) {
            return Err("lanes = 0: must be 1 to 64".to_owned());
        }
        Ok(Settings {
            reload: *self.0.mode.lock().unwrap(),
            auth: self.0.auth.lock().unwrap().clone(),
            ..Settings::default()
        })
    }

    fn look(&self, _: &Settings) -> Result<Outlook, String> {
        if self.0.is_unreadable.load(Ordering::Relaxed) {
            return Err("models_dir cannot be read".to_owned());
        }
        let shelf = self.0.shelf.lock().unwrap().clone();
        let models = shelf.into_iter().map(|(name, book)| {
            let disk = Arc::clone(&self.0);
            Found {
                name: name.to_owned(),
                identity: match &book {
                    Book::Good(identity, ..) | Book::Bare(identity, _) => {
                        Ok((*identity).to_owned())
                    }
                    Book::Unreadable => Err("cut off".to_owned()),
                    Book::TooLarge | Book::Mad | Book::Renamed => Ok("new".to_owned()),
                },
                load: Box::new(move || {
                    disk.loads.fetch_add(1, Ordering::Relaxed);
                    pool(name, &book)
                }),
            }
        });
        Ok(Outlook {
            needs_restart: vec!["lanes".to_owned()],
            models: models.collect(),
        })
    }
}

fn pool(name: &'static str, book: &Book) -> Result<LanePool, String> {
    let runs = AtomicUsize::new(0);
    let (identity, cells, classes) = match *book {
        Book::Good(identity, cells, classes) => (identity, cells, classes),
        Book::Bare(_, cells) => ("", cells, 2),
        Book::Mad => ("mad", 1, 2),
        Book::Renamed => ("new", 1, 2),
        Book::TooLarge => return Err("needs 900 MiB, and 100 MiB are free".to_owned()),
        Book::Unreadable => return Err("is not looked at".to_owned()),
    };
    let name = match book {
        Book::Renamed => "other",
        _ => name,
    };
    let is_mad = matches!(book, Book::Mad);
    let backend = FakeBackend::new(move |frame, _, _| {
        let n = match is_mad {
            true => runs.fetch_add(1, Ordering::Relaxed),
            false => cells,
        };
        Ok(fake::cells(frame, n, 4))
    });
    let backend = backend.called(name, identity, &["a", "b", "c"][..classes]);
    LanePool::start(Arc::new(backend), 2).map_err(|error: LaneError| error.to_string())
}

fn start(disk: &Arc<Disk>) -> Daemon {
    let pools = disk.shelf.lock().unwrap().clone();
    let pools = pools.iter().map(|(name, book)| pool(name, book).unwrap());
    Daemon::reloading(
        Settings::default(),
        pools.collect(),
        Arc::new(Reads(Arc::clone(disk))),
    )
}

fn outcomes(reload: &Reload) -> Vec<(&str, ReloadOutcome)> {
    assert_eq!(reload.failed, None);
    let of_model = |model: &'_ cellsegd::server::Reloaded| model.outcome;
    reload
        .models
        .iter()
        .map(|model| (&*model.name, of_model(model)))
        .collect()
}

async fn open(daemon: &Daemon, model: &str, follow_reload: bool) -> Session {
    let options = pb::SessionOptions {
        model: model.to_owned(),
        follow_reload,
        ..Default::default()
    };
    Session::open(daemon, options).await.0
}

async fn cells_of(session: &mut Session, id: u64) -> (String, u32) {
    session.send(Request::Frame(frame(id))).await;
    let reply = session.frame_reply().await;
    (outcome(&reply), reply.revision)
}

async fn changed(session: &mut Session) -> pb::SessionChanged {
    match session.reply().await {
        Reply::Changed(changed) => changed,
        other => panic!("no change: {other:?}"),
    }
}

use Book::{Bare, Good, Mad, Renamed, TooLarge, Unreadable};
use ReloadOutcome::{Loaded, Refused, Removed, Unchanged};

#[tokio::test(flavor = "multi_thread")]
async fn every_model_is_told_what_became_of_it() {
    let disk = Disk::with(&[
        ("same", Good("1", 1, 2)),
        ("next", Good("1", 1, 2)),
        ("gone", Good("1", 1, 2)),
        ("cut", Good("1", 1, 2)),
        ("large", Good("1", 1, 2)),
        ("mad", Good("1", 1, 2)),
    ]);
    let daemon = start(&disk);
    disk.put(&[
        ("next", Good("2", 2, 2)),
        ("same", Good("1", 1, 2)),
        ("cut", Unreadable),
        ("large", TooLarge),
        ("mad", Mad),
        ("new", Good("1", 3, 2)),
    ]);
    let reload = daemon.control.reload().await;
    assert_eq!(
        outcomes(&reload),
        [
            ("next", Loaded),
            ("same", Unchanged),
            ("cut", Refused),
            ("large", Refused),
            ("mad", Refused),
            ("new", Loaded),
            ("gone", Removed)
        ]
    );
    let said: BTreeMap<_, _> = reload
        .models
        .iter()
        .map(|model| (&*model.name, &*model.message))
        .collect();
    assert_eq!(said["cut"], "cut off");
    assert_eq!(said["large"], "needs 900 MiB, and 100 MiB are free");
    assert!(
        said["mad"].contains("other cells the second time"),
        "{said:?}"
    );
    assert_eq!(reload.needs_restart, ["lanes"]);
    assert!(!reload.is_good() && !reload.to_string().contains('\n'));
    // Those that were refused serve as before; the first is the default.
    for (model, cells) in [
        ("", "2 cells"),
        ("same", "1 cells"),
        ("cut", "1 cells"),
        ("large", "1 cells"),
        ("mad", "1 cells"),
        ("new", "3 cells"),
    ] {
        let mut session = open(&daemon, model, false).await;
        assert_eq!(cells_of(&mut session, 1).await, (cells.to_owned(), 1));
    }
    let mut session = Session::new(&daemon).await;
    let options = pb::SessionOptions {
        model: "gone".to_owned(),
        ..Default::default()
    };
    session.send(Request::Open(options)).await;
    assert_eq!(session.error().await.0, tonic::Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_wrong_change_nothing() {
    let disk = Disk::with(&[("cells", Good("1", 1, 2))]);
    let daemon = start(&disk);
    disk.put(&[("cells", Good("2", 2, 2))]);
    disk.is_bad.store(true, Ordering::Relaxed);
    let reload = daemon.control.reload().await;
    let why = reload.failed.as_deref().unwrap();
    assert!(why.contains("lanes = 0"), "{why}");
    assert_eq!(disk.loads.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_models_keeps_no_role_in_force() {
    let disk = Disk::with(&[("cells", Good("1", 1, 2))]);
    let daemon = start(&disk);
    let url = daemon.address.clone();
    let status = || async {
        let mut admin = pb::admin_client::AdminClient::connect(url.clone())
            .await
            .unwrap();
        admin
            .status(pb::StatusRequest {})
            .await
            .map_err(|status| status.code())
    };
    assert!(status().await.is_ok());
    disk.is_unreadable.store(true, Ordering::Relaxed);
    *disk.auth.lock().unwrap() = AuthSettings {
        loopback: Grant::None,
        ..AuthSettings::default()
    };
    let reload = daemon.control.reload().await;
    let why = reload.failed.as_deref().unwrap();
    assert!(why.contains("models_dir"), "{why}");
    assert!(status().await.is_err(), "nobody may call any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_model_stays_when_nothing_can_take_its_place() {
    let disk = Disk::with(&[("old", Good("1", 1, 2))]);
    let daemon = start(&disk);
    disk.put(&[("new", TooLarge)]);
    let reload = daemon.control.reload().await;
    assert_eq!(outcomes(&reload), [("new", Refused), ("old", Refused)]);
    let mut session = open(&daemon, "", false).await;
    assert_eq!(cells_of(&mut session, 1).await, ("1 cells".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_its_model_unless_it_follows() {
    let disk = Disk::with(&[("cells", Good("1", 1, 2))]);
    let daemon = start(&disk);
    let mut keeps = open(&daemon, "", false).await;
    let mut follows = open(&daemon, "", true).await;
    let update = pb::SessionUpdate {
        thresholds: Some(pb::Thresholds {
            confidence: Some(0.5),
            ..Default::default()
        }),
        ..Default::default()
    };
    follows.send(Request::Update(update)).await;
    assert_eq!(changed(&mut follows).await.revision, 2);
    for (generation, identity) in ["2", "3"].into_iter().enumerate() {
        let cells = 2 + generation;
        disk.put(&[("cells", Good(identity, cells, 3))]);
        assert!(daemon.control.reload().await.is_good());
        // Told without a frame being sent.
        let told = changed(&mut follows).await;
        assert_eq!(
            (told.why.as_str(), told.revision),
            ("reload", 3 + generation as u32)
        );
        let model = told.model.unwrap();
        assert_eq!((model.version.as_str(), model.classes.len()), (identity, 3));
        // What the client asked for holds with the new model too.
        let thresholds = told.settled.unwrap().thresholds.unwrap();
        assert_eq!(thresholds.confidence, Some(0.5));
        let wanted = (format!("{cells} cells"), 3 + generation as u32);
        assert_eq!(cells_of(&mut follows, 7).await, wanted);
        assert_eq!(cells_of(&mut keeps, 7).await, ("1 cells".to_owned(), 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_exports_name_the_model_that_found_the_cells() {
    let disk = Disk::with(&[("cells", Good("1", 1, 2))]);
    let daemon = start(&disk);
    let keeps = rest::open(&daemon, "{}").await;
    let follows = rest::open(&daemon, r#"{"followReload": true}"#).await;
    disk.put(&[("cells", Good("2", 2, 2))]);
    assert!(daemon.control.reload().await.is_good());
    for (session, version) in [(keeps, "1"), (follows, "2")] {
        let exported = rest::frame(&daemon, &session, "as=geojson").await;
        let exported: serde_json::Value = serde_json::from_slice(&exported.body).unwrap();
        assert_eq!(n_cells(&exported).to_string(), version);
        let told = exported.to_string();
        let named = format!(r#""version":"{version}""#);
        assert!(told.contains(&named), "{named}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_by_http_is_for_the_model_that_its_session_keeps() {
    let disk = Disk::with(&[("cells", Good("1", 1, 2))]);
    let daemon = start(&disk);
    let keeps = rest::open(&daemon, "{}").await;
    disk.put(&[("cells", Good("2", 1, 1))]);
    assert!(daemon.control.reload().await.is_good());
    let later = rest::open(&daemon, "{}").await;
    let second_class = r#"{"thresholds": {"classes": [1]}}"#;
    for (session, code) in [(keeps, 200), (later, 422)] {
        assert_eq!(rest::update(&daemon, &session, second_class).await, code);
    }
}

fn n_cells(exported: &serde_json::Value) -> usize {
    exported["features"].as_array().unwrap().len()
}

/// The same request of the model called so; of this version, if there is one.
fn of_cells(request: ModelInferRequest, version: &str) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "cells".to_owned(),
        model_version: version.to_owned(),
        ..request
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inference_names_the_version_that_answered() {
    let disk = Disk::with(&[("cells", Good("1", 1, 2))]);
    let daemon = start(&disk);
    let client = inference::connect(&daemon).await;
    let infer = async |request, version: &str| {
        let answer = inference::infer(&client, of_cells(request, version)).await;
        answer.map(|answer| answer.model_version)
    };
    let versioned = |version: &str| Ok(version.to_owned());
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut streaming = client.clone();
    let mut answers = streaming.model_stream_infer(requests).await;
    let answers = answers.as_mut().unwrap().get_mut();
    let mut stream = async || {
        let request = of_cells(inference::request(), "");
        sender.send(request).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await;
        let answer = answer.unwrap().unwrap().unwrap();
        answer.infer_response.unwrap().model_version
    };
    let (start, goes_on) = (
        inference::in_sequence(true, false),
        inference::in_sequence(false, false),
    );
    assert_eq!(infer(start.clone(), "1").await, versioned("1"));
    assert_eq!(stream().await, "1");
    disk.put(&[("cells", Good("2", 2, 2))]);
    assert!(daemon.control.reload().await.is_good());
    // The sequence keeps its model; who asks for none of its own gets the one that is served.
    assert_eq!(infer(goes_on.clone(), "1").await, versioned("1"));
    assert_eq!(infer(goes_on.clone(), "").await, versioned("1"));
    let (code, _) = infer(goes_on.clone(), "2").await.unwrap_err();
    assert_eq!(code, tonic::Code::NotFound);
    assert_eq!(infer(inference::request(), "2").await, versioned("2"));
    assert_eq!(stream().await, "2");
    // One more of the old, which must take nothing from the new one's counts.
    assert_eq!(infer(goes_on.clone(), "1").await, versioned("1"));
    let told = ModelStatisticsRequest::default();
    let told = client.clone().model_statistics(told).await.unwrap();
    let told = &told.get_ref().model_stats[0];
    assert_eq!((told.version.as_str(), told.inference_count), ("2", 2));
    // Moved with everybody else.
    assert_eq!(infer(start, "").await, versioned("2"));
    disk.replaces();
    disk.put(&[("cells", Good("3", 3, 2))]);
    assert!(daemon.control.reload().await.is_good());
    assert_eq!(infer(goes_on, "").await, versioned("3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_are_told_alike_are_told_apart() {
    let disk = Disk::with(&[("cells", Bare("1", 1))]);
    let daemon = start(&disk);
    let client = inference::connect(&daemon).await;
    let (start, goes_on) = (
        inference::in_sequence(true, false),
        inference::in_sequence(false, false),
    );
    let infer = async |request| inference::infer(&client, of_cells(request, "1")).await;
    infer(start).await.unwrap();
    disk.put(&[("cells", Bare("2", 2))]);
    assert!(daemon.control.reload().await.is_good());
    // The sequence keeps its model, and is told so.
    let kept = infer(goes_on).await.unwrap();
    assert_eq!(kept.model_version, "1");
    assert_eq!(kept.outputs[0].shape, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capped_priority_stays_capped_with_the_next_model() {
    let disk = Disk::with(&[("cells", Good("1", 1, 2))]);
    let infer = RoleLimits {
        priority: PriorityCap::Background,
        ..RoleLimits::default()
    };
    let settings = Settings {
        auth: AuthSettings {
            infer,
            ..AuthSettings::default()
        },
        ..Settings::default()
    };
    let pools = vec![pool("cells", &Good("1", 1, 2)).unwrap()];
    let daemon = Daemon::reloading(settings, pools, Arc::new(Reads(Arc::clone(&disk))));
    let options = pb::SessionOptions {
        priority: pb::Priority::Urgent.into(),
        follow_reload: true,
        ..Default::default()
    };
    let (mut session, opened) = Session::open(&daemon, options).await;
    let granted = opened.settled.unwrap().priority();
    assert_eq!(granted, pb::Priority::Background);
    disk.put(&[("cells", Good("2", 2, 2))]);
    assert!(daemon.control.reload().await.is_good());
    let told = changed(&mut session).await;
    assert_eq!(told.why, "reload");
    let granted = told.settled.unwrap().priority();
    assert_eq!(granted, pb::Priority::Background);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_do_not_fit_the_next_model_keep_the_session_where_it_is() {
    let disk = Disk::with(&[("cells", Good("1", 1, 2))]);
    let daemon = start(&disk);
    let options = pb::SessionOptions {
        follow_reload: true,
        thresholds: Some(pb::Thresholds {
            classes: vec![1],
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut session, _) = Session::open(&daemon, options).await;
    // Its cells are of the one class that it has.
    disk.put(&[("cells", Good("2", 1, 1))]);
    assert!(daemon.control.reload().await.is_good());
    let told = changed(&mut session).await;
    assert_eq!(
        (told.revision, told.model.unwrap().version),
        (2, "1".to_owned())
    );
    assert!(
        told.why.contains("keeps its model") && told.why.contains("class"),
        "{}",
        told.why
    );
    assert_eq!(cells_of(&mut session, 1).await.1, 2);
    // The one after that fits again.
    disk.put(&[("cells", Good("3", 3, 2))]);
    assert!(daemon.control.reload().await.is_good());
    assert_eq!(changed(&mut session).await.model.unwrap().version, "3");
    disk.replaces();
    disk.put(&[("cells", Good("4", 1, 1))]);
    assert!(daemon.control.reload().await.is_good());
    let (code, text) = session.error().await;
    assert_eq!(code, tonic::Code::InvalidArgument);
    assert!(text.contains("was replaced"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_ends_the_old_lanes_first_and_moves_everybody() {
    let disk = Disk::with(&[("cells", Good("1", 1, 2))]);
    disk.replaces();
    let daemon = start(&disk);
    let mut keeps = open(&daemon, "", false).await;
    // What cannot be loaded: the old lanes come back, for sessions that know nothing of it.
    for book in [TooLarge, Mad, Renamed] {
        disk.put(&[("cells", book)]);
        assert_eq!(
            outcomes(&daemon.control.reload().await),
            [("cells", Refused)]
        );
        assert_eq!(cells_of(&mut keeps, 1).await, ("1 cells".to_owned(), 1));
    }
    disk.put(&[("cells", Good("2", 2, 2))]);
    assert_eq!(
        outcomes(&daemon.control.reload().await),
        [("cells", Loaded)]
    );
    assert_eq!(changed(&mut keeps).await.why, "reload");
    assert_eq!(cells_of(&mut keeps, 2).await, ("2 cells".to_owned(), 2));
}

/// Sessions of both kinds that send as fast as they may until the last model has come. `reloads`: what is put, and what must
/// become of it.
async fn under_load(disk: Arc<Disk>, reloads: &[(Book, ReloadOutcome)]) {
    let moves_all = *disk.mode.lock().unwrap() == ReloadMode::Replace;
    let daemon = Arc::new(start(&disk));
    let enough = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for client in 0..6 {
        let follows = client % 2 == 0;
        let mut session = open(&daemon, "", follows).await;
        let requests = session.requests();
        let enough = Arc::clone(&enough);
        let (sent, mut is_last) = tokio::sync::watch::channel(None);
        let sender = tokio::spawn(async move {
            let mut n_sent = 0;
            // One more after the last reload, so that each is seen to answer with what came last.
            while !enough.load(Ordering::Relaxed) || n_sent == 0 {
                requests
                    .send(request(n_sent))
                    .await
                    .expect("the server takes it");
                n_sent += 1;
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            // Known before it is answered: nobody waits for a reply that does not come.
            sent.send_replace(Some(n_sent + 1));
            requests
                .send(request(n_sent))
                .await
                .expect("the server takes it");
        });
        clients.push(tokio::spawn(async move {
            // What each revision's model answers, as announced.
            let mut version = "1".to_owned();
            let (mut revision, mut next) = (1, 0);
            while *is_last.borrow_and_update() != Some(next) {
                match session.reply().await {
                    Reply::Changed(told) => {
                        assert_eq!(told.revision, revision + 1, "revisions in order");
                        revision = told.revision;
                        version = told.model.unwrap().version;
                    }
                    Reply::Frame(reply) => {
                        assert_eq!((reply.id, reply.revision), (next, revision));
                        assert_eq!(outcome(&reply), format!("{version} cells"));
                        next += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            sender.await.unwrap();
            assert_eq!(session.close().await.segmented, next);
            (follows, revision, version)
        }));
    }
    let (mut last, mut n_loaded) = ("1", 0);
    for (book, becomes) in reloads {
        let_it_be_read().await;
        disk.put(&[("cells", book.clone())]);
        let reload = daemon.control.reload().await;
        assert_eq!(outcomes(&reload), [("cells", *becomes)], "{reload}");
        if let (Good(identity, ..), Loaded) = (book, becomes) {
            last = identity;
            n_loaded += 1;
        }
    }
    let_it_be_read().await;
    enough.store(true, Ordering::Relaxed);
    for client in clients {
        let (follows, revision, version) = client.await.unwrap();
        let wanted = match follows || moves_all {
            true => (1 + n_loaded, last),
            false => (1, "1"),
        };
        assert_eq!((revision, &*version), wanted, "follows: {follows}");
    }
    let mut daemon = Arc::into_inner(daemon).expect("the clients are gone");
    daemon.stop();
    assert_eq!(daemon.ended().await, Ended::Drained);
}

fn request(id: u64) -> pb::StreamRequest {
    pb::StreamRequest {
        request: Some(Request::Frame(frame(id))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_no_frame_is_lost_and_each_names_the_model_that_answered() {
    let books = [
        (Good("2", 2, 2), Loaded),
        (TooLarge, Refused),
        (Good("3", 3, 2), Loaded),
        (Mad, Refused),
    ];
    under_load(Disk::with(&[("cells", Good("1", 1, 2))]), &books).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_where_the_old_lanes_end_first() {
    let disk = Disk::with(&[("cells", Good("1", 1, 2))]);
    disk.replaces();
    let books = [
        (Good("2", 2, 2), Loaded),
        (TooLarge, Refused),
        (Good("3", 3, 2), Loaded),
    ];
    under_load(disk, &books).await;
}
