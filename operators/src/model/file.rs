//! `CREATE MODEL name WITH (format = 'onnx' | 'safetensors', path = '...')`: a model that is not trained here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lineshaft_engine::declaration::{OptionError, Options};
use lineshaft_engine::error::{Error, Result};
use sha2::{Digest, Sha256};

use super::augment::Augment;
use super::onnx::{Imported, OnnxModel, OnnxOptions};
use super::options::hex;
use super::reader::{Reader, did_you_mean};
use super::safetensors::{self, NetOptions};
use super::split::Split;
use super::{Algorithm, Balance, Constant, Fitted, Gate, Missing, Model, Models, Trained, Training};

/// A larger file is refused before it is read.
const MOST_BYTES: u64 = 1 << 30;

/// What a statement says of a file, by its format.
#[derive(Clone, Debug, PartialEq)]
pub enum FileOptions {
    /// A graph.
    Onnx(OnnxOptions),
    /// The weights of a dense net.
    Safetensors(NetOptions),
}

impl FileOptions {
    /// The file and the other options of a statement.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn from_options(options: &Options) -> std::result::Result<(PathBuf, Self), Vec<OptionError>> {
        let mut reader = Reader::new(options);
        let format = reader.text("format").unwrap_or_default();
        let path = reader.text("path");
        let (features, classes) = (names(&mut reader, "features"), names(&mut reader, "classes"));
        let read = match format.as_str() {
            "onnx" => Self::Onnx(OnnxOptions { features, output: reader.text("output"), classes }),
            "safetensors" => Self::Safetensors(net(&mut reader, features, classes)),
            _ => {
                let message = "the format of a model is 'onnx' or 'safetensors'";
                return Err(vec![OptionError::of("format", message)]);
            }
        };
        reader.refuse_unknown("a model of a file");
        if path.is_none() {
            reader.errors.push(OptionError::general("a model of a file needs the option `path`"));
        }
        match path.filter(|_| reader.errors.is_empty()) {
            Some(path) => Ok((PathBuf::from(path), read)),
            None => Err(reader.errors),
        }
    }

    fn read(&self, bytes: &[u8]) -> std::result::Result<Imported, String> {
        match self {
            Self::Onnx(options) => OnnxModel::read(bytes, options),
            Self::Safetensors(options) => safetensors::read(bytes, options),
        }
    }
}

fn names(reader: &mut Reader<'_>, option: &'static str) -> Vec<String> {
    let names = reader.text(option).unwrap_or_default();
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn net(reader: &mut Reader<'_>, features: Vec<String>, classes: Vec<String>) -> NetOptions {
    let activations = names(reader, "activation");
    let output_activation = reader.text("output_activation");
    let known = safetensors::activation_names();
    let given = activations.iter().map(|name| ("activation", name));
    let given = given.chain(output_activation.iter().map(|name| ("output_activation", name)));
    for (option, name) in given.filter(|(_, name)| !known.contains(&name.as_str())) {
        let error = OptionError::of(option, format!("there is no activation {name:?}"));
        reader.errors.push(error.help(did_you_mean(name, &known)));
    }
    let layers = names(reader, "layers");
    let prefix = reader.text("prefix").unwrap_or_default();
    NetOptions { features, classes, activations, output_activation, layers, prefix }
}

impl Trained {
    /// The model of a file, with the SHA-256 of it.
    ///
    /// # Errors
    /// If the file cannot be read, or something in it cannot be scored.
    pub fn from_file(name: &str, path: &Path, options: &FileOptions) -> Result<(Self, String)> {
        let read = || {
            if fs::metadata(path)?.len() > MOST_BYTES {
                return Err(std::io::Error::other("it has more than 1 GiB"));
            }
            fs::read(path)
        };
        let bytes = read().map_err(|source| Error::file("read", path, source))?;
        let imported = options.read(&bytes).map_err(|reason| {
            Error::operator(format!("model {name:?}"), format!("{}: {reason}", path.display()))
        })?;
        let task = imported.model.task();
        let algorithm = match options {
            FileOptions::Onnx(_) => Algorithm::Onnx(task),
            FileOptions::Safetensors(_) => Algorithm::Safetensors(task),
        };
        Ok((Self::imported(name, algorithm, imported), hex(&Sha256::digest(&bytes))))
    }

    fn imported(name: &str, algorithm: Algorithm, imported: Imported) -> Self {
        let Imported { model, features, classes } = imported;
        let training = Training {
            name: name.to_owned(),
            algorithm,
            target: None,
            per: None,
            seed: 0,
            test_fraction: 0.0,
            split: Split::Row,
            missing: Missing::Drop,
            constant: Constant::Keep,
            balance: Balance::None,
            augment: Augment::default(),
            cases: None,
            gate: Gate::Open,
            folds: 0,
            halving: false,
            trials: Vec::new(),
        };
        Self {
            training,
            features,
            classes,
            rows: 0,
            test_rows: 0,
            dropped_rows: 0,
            constant_features: Vec::new(),
            left_out: Vec::new(),
            metrics: Vec::new(),
            importances: Vec::new(),
            chosen: String::new(),
            runs: Vec::new(),
            model: Models::One(Fitted::Onnx(model)),
            cases: BTreeMap::new(),
        }
    }
}
