//! The life of the models of a program: which version scores at the start, and which one from which epoch on.
//!
//! ```text
//! statement, files --definition--> stored version, or train.rs --gate--> models/<name>/chosen <--ALTER MODEL
//!                                                                               |
//!                        looked at while the program runs, and after RETRAIN    v   (drift.rs: ON DRIFT)
//!                                                        Swaps --epoch--> Predict::swap
//! ```
//!
//! Training runs on a thread of its own, and so does loading: the dataflow only takes over a model that is in memory.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lineshaft_engine::clock::Clock;
use lineshaft_engine::error::Error as EngineError;
use lineshaft_engine::run::message;
use lineshaft_engine::sink::SinkFactory;
use lineshaft_engine::swap::{Holder, Swap, Swaps};
use lineshaft_engine::time::Epoch;
use lineshaft_operators::model::artifact::{self, Choice};
use lineshaft_operators::model::{Artifact, Classes, Trained};
use lineshaft_queries::predict::Scoring;
use lineshaft_queries::{Model, Program};
use tokio::runtime::Handle;

use crate::alter::alter;
use crate::drift::Drifts;
use crate::error::{Error, ProgramErrors};
use crate::train::{self, Fresh};

/// How often it is looked whether another version was chosen.
const LOOK: Duration = Duration::from_millis(200);

/// The models of a program with their data directory.
pub(crate) struct Models {
    pub(crate) program: Arc<Program>,
    pub(crate) data: PathBuf,
    pub(crate) workers: usize,
    pub(crate) runtime: Handle,
    pub(crate) clock: Clock,
    loaded: Mutex<BTreeMap<(String, u32), Loaded>>,
    drifts: Drifts,
}

/// A version in memory.
#[derive(Clone)]
struct Loaded {
    trained: Arc<Trained>,
    hash: String,
}

impl Models {
    /// Trains or loads every model of the program, so that it can score.
    ///
    /// # Errors
    /// If a model cannot be trained or loaded, or does not pass its gate.
    pub(crate) fn start(
        program: &Arc<Program>,
        data: PathBuf,
        workers: usize,
        runtime: &Handle,
        clock: Clock,
    ) -> Result<Arc<Self>, Error> {
        let (program, runtime) = (Arc::clone(program), runtime.clone());
        let models = Self {
            program,
            data,
            workers,
            runtime,
            clock,
            loaded: Mutex::default(),
            drifts: Drifts::default(),
        };
        for model in models.program.models() {
            let name = &model.training.name;
            let mut choice = models.settle(model)?;
            for statement in models.program.alterations().iter().filter(|it| it.name.value == *name) {
                choice = alter(&models.data, statement)?;
            }
            let scoring = models.scoring(name, &models.value(name, &choice)?)?;
            tracing::info!("model {name:?}: version {} scores", scoring.version);
            models.program.predict().set(name, scoring);
        }
        Ok(Arc::new(models))
    }

    /// What is swapped, with what scores at the start.
    pub(crate) fn swaps(self: &Arc<Self>) -> Result<Swaps, Error> {
        let swaps = Swaps::new(ModelHolder(Arc::clone(self)));
        for model in self.program.models() {
            if let Some(choice) = Choice::load(&self.data, &model.training.name)? {
                self.ask(&swaps, &model.training.name, &choice)?;
            }
        }
        Ok(swaps)
    }

    /// Where the rows of `<model>.drift` go, by the name of the sink.
    pub(crate) fn drift_sinks(&self) -> Vec<(String, Arc<dyn SinkFactory>)> {
        let models = self.program.models().iter();
        let sink = |model: &Model| Some((model.drift_sink()?, self.drifts.sink(&model.training.name)));
        models.filter_map(sink).collect()
    }

    fn ask(&self, swaps: &Swaps, name: &str, choice: &Choice) -> Result<(), Error> {
        let value = self.value(name, choice)?.into_bytes();
        swaps.ask(Swap { name: name.to_owned(), value });
        Ok(())
    }

    /// The version that is to score: the one chosen for this definition, or else a new one if its gate lets it.
    fn settle(&self, model: &Model) -> Result<Choice, Error> {
        let (name, training) = (&model.training.name, &model.training);
        let definition = train::definition(&self.program, model)?;
        let hash = training.definition_hash(&definition);
        let before = Choice::load(&self.data, name)?;
        if let Some(choice) = before.clone().filter(|choice| choice.definition == hash)
            && self.load(name, choice.live).is_ok()
        {
            return Ok(choice);
        }
        let choice = match artifact::newest(&self.data, training, &definition)? {
            Some((stored, _)) => promoted(before, stored.version, &hash),
            None => {
                let fresh = train::train(self, model, &definition)?;
                self.judged(model, before, fresh, &hash)?
            }
        };
        choice.save(&self.data, name)?;
        Ok(choice)
    }

    /// A version that was just trained scores if its gate lets it, and otherwise beside the one that does.
    fn judged(
        &self,
        model: &Model,
        before: Option<Choice>,
        fresh: Fresh,
        hash: &str,
    ) -> Result<Choice, Error> {
        let name = &model.training.name;
        let Fresh { artifact, version, rows } = fresh;
        let live = before.as_ref().and_then(|choice| self.load(name, choice.live).ok());
        let live = live.filter(|live| self.program.predict().fits(name, &live.trained));
        let live_trained = live.as_ref().map(|live| &*live.trained);
        let Err(reason) = model.training.gate.check(&artifact.trained, live_trained, &rows)? else {
            return Ok(promoted(before, version, hash));
        };
        match before.filter(|_| live.is_some()) {
            Some(before) => {
                let scores = before.live;
                tracing::warn!(
                    "model {name:?}: version {version} does not pass its gate: {reason}; version {scores} scores, {version} beside it"
                );
                Ok(Choice { shadow: Some(version), definition: hash.to_owned(), ..before })
            }
            None => {
                let message = format!("model {name:?} does not pass its gate: {reason}");
                let error = lineshaft_queries::error::QueryError::invalid(message, model.span);
                Err(ProgramErrors::new(self.program.files(), vec![error]).into())
            }
        }
    }

    fn load(&self, name: &str, version: u32) -> Result<Loaded, Error> {
        let key = (name.to_owned(), version);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.get(&key) {
            return Ok(known.clone());
        }
        let Some(artifact) = artifact::version(&self.data, name, version)? else {
            return Err(Error::Query(format!("model {name:?} has no version {version} any more")));
        };
        let hash = artifact.hash()?;
        let found = Loaded { trained: Arc::new(artifact.trained), hash };
        loaded.insert(key, found.clone());
        Ok(found)
    }

    /// Versions that are not chosen need not be in memory twice; those that score are kept by the queries.
    fn unload(&self, name: &str, choice: &Choice) {
        let chosen = [Some(choice.live), choice.previous, choice.shadow];
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|(other, version), _| other != name || chosen.contains(&Some(*version)));
    }

    /// As a swap has it: number and hash of the version that scores, and of the one beside it.
    fn value(&self, name: &str, choice: &Choice) -> Result<String, Error> {
        let one = |version: u32| Ok::<_, Error>(format!("{version} {}", self.load(name, version)?.hash));
        let shadow = choice.shadow.map(one).transpose()?;
        Ok(std::iter::once(one(choice.live)?).chain(shadow).collect::<Vec<_>>().join("\n"))
    }

    fn scoring(&self, name: &str, value: &str) -> Result<Scoring, Error> {
        let mut versions = value.lines().map(|line| self.version(name, line));
        let (version, live) =
            versions.next().ok_or_else(|| Error::Query("a swap without a version".into()))??;
        let shadow = versions.next().transpose()?.map(|(_, trained)| trained);
        Ok(Scoring { version, live, shadow })
    }

    fn version(&self, name: &str, line: &str) -> Result<(u32, Arc<Trained>), Error> {
        let (version, hash) = line.split_once(' ').unwrap_or((line, ""));
        let number = version.parse().unwrap_or_default();
        let found = self.load(name, number)?;
        if found.hash != hash {
            return Err(Error::Query(format!(
                "version {version} of model {name:?} is not the one that scored: its file has changed; put it back, or begin \
                 anew with --new-state"
            )));
        }
        let unknown = self.program.predict().unknown_classes(name, &found.trained);
        if !unknown.is_empty() {
            let known = found.trained.classes.as_ref().map(Classes::labels).unwrap_or_default();
            return Err(Error::Query(format!(
                "version {version} of model {name:?} has no class {:?}, of which the program asks; its classes are {}",
                unknown.join(", "),
                known.join(", ")
            )));
        }
        if !self.program.predict().fits(name, &found.trained) {
            return Err(Error::Query(format!(
                "version {version} of model {name:?} takes {}, which is not what the program gives it",
                found.trained.features.join(", ")
            )));
        }
        Ok((number, found.trained))
    }

    /// Looks after the models until the keeper is dropped.
    pub(crate) fn keep(self: Arc<Self>, swaps: Swaps) -> Result<Keeper, Error> {
        let (stop, stops) = channel();
        if self.program.models().is_empty() {
            return Ok(Keeper(stop));
        }
        let mut last = BTreeMap::new();
        let mut tried_at = BTreeMap::new();
        let look = move || {
            while stops.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                for model in self.program.models() {
                    let look = || self.look_after(model, &swaps, &mut last, &mut tried_at);
                    // One that fails must not end the looking after the others.
                    let reason = match catch_unwind(AssertUnwindSafe(look)) {
                        Ok(Ok(())) => continue,
                        Ok(Err(error)) => crate::report::chain(&error),
                        Err(panic) => format!("its training panicked: {}", message(panic.as_ref())),
                    };
                    tracing::warn!("model {:?} stays as it is: {}", model.training.name, reason.trim());
                }
            }
        };
        let started = std::thread::Builder::new().name("lineshaft-models".into()).spawn(look);
        started.map_err(|error| EngineError::Plan(format!("could not start a thread: {error}")))?;
        Ok(Keeper(stop))
    }

    /// A model that has drifted is trained once there are data that it was not trained on.
    fn answer_drift(&self, model: &Model) -> Result<(), Error> {
        let (name, training) = (&model.training.name, &model.training);
        let data = training.definition_hash(&train::definition(&self.program, model)?);
        let known = Choice::load(&self.data, name)?.is_some_and(|choice| choice.definition == data);
        if !known && self.drifts.is_new(name, &data) {
            self.settle(model)?;
            self.drifts.answered(name);
        }
        Ok(())
    }

    fn look_after(
        &self,
        model: &Model,
        swaps: &Swaps,
        last: &mut BTreeMap<String, Choice>,
        tried_at: &mut BTreeMap<String, i64>,
    ) -> Result<(), Error> {
        let name = model.training.name.as_str();
        if let Some(every) = model.retrain_us {
            let now = self.clock.now();
            let tried = tried_at.entry(name.to_owned()).or_insert(now);
            if now.saturating_sub(*tried) >= every {
                *tried = now;
                self.settle(model)?;
            }
        }
        if self.drifts.asks(name) {
            self.answer_drift(model)?;
        }
        let Some(choice) = Choice::load(&self.data, name)? else { return Ok(()) };
        if last.get(name) != Some(&choice) {
            // What cannot be taken over is told once.
            last.insert(name.to_owned(), choice.clone());
            let value = self.value(name, &choice)?;
            self.scoring(name, &value)?;
            self.ask(swaps, name, &choice)?;
            self.unload(name, &choice);
        }
        Ok(())
    }
}

fn promoted(before: Option<Choice>, version: u32, definition: &str) -> Choice {
    match before {
        Some(before) => Choice { definition: definition.to_owned(), ..before.with_live(version) },
        None => Choice::first(version, definition),
    }
}

/// Puts versions where queries find them.
struct ModelHolder(Arc<Models>);

impl Holder for ModelHolder {
    fn swap(&self, from: Epoch, swap: &Swap) -> lineshaft_engine::Result<()> {
        // A model that the program no longer has is not scored.
        if !self.0.program.models().iter().any(|model| model.training.name == swap.name) {
            return Ok(());
        }
        let value = String::from_utf8_lossy(&swap.value);
        let scoring = self.0.scoring(&swap.name, &value);
        let scoring = scoring.map_err(|error| EngineError::Plan(crate::report::chain(&error)))?;
        tracing::debug!("model {:?}: version {} scores from epoch {from} on", swap.name, scoring.version);
        self.0.program.predict().swap(&swap.name, from, scoring);
        Ok(())
    }

    fn forget_before(&self, name: &str, epoch: Epoch) {
        self.0.program.predict().forget_before(name, epoch);
    }
}

/// Dropping it ends the looking after models.
pub(crate) struct Keeper(#[expect(dead_code, reason = "its end is the message")] Sender<()>);

/// A figure for people: six digits behind the point, or of the number if it is small.
pub(crate) fn shown(value: f64) -> String {
    if value.abs() >= 1e-3 || value == 0.0 { format!("{value:.6}") } else { format!("{value:.5e}") }
}

/// The figures of a version on one line, for the log.
pub(crate) fn figures(artifact: &Artifact) -> String {
    let overall = artifact.trained.metrics.iter().filter(|metric| metric.class.is_none());
    overall.map(|metric| format!("{} {}", metric.name, shown(metric.value))).collect::<Vec<_>>().join(", ")
}
