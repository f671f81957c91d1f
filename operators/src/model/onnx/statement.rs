//! `CREATE MODEL name WITH (format = 'onnx', path = '...')`: a model that is not trained here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lineshaft_engine::declaration::{OptionError, Options};
use lineshaft_engine::error::{Error, Result};
use sha2::{Digest, Sha256};

use super::{Imported, OnnxModel, OnnxOptions};
use crate::model::augment::Augment;
use crate::model::options::hex;
use crate::model::reader::Reader;
use crate::model::split::Split;
use crate::model::{Algorithm, Balance, Constant, Fitted, Gate, Missing, Model, Models, Trained, Training};

/// A larger file is refused before it is read.
const MOST_BYTES: u64 = 1 << 30;

impl OnnxOptions {
    /// The file and the other options of a statement.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn from_options(options: &Options) -> std::result::Result<(PathBuf, Self), Vec<OptionError>> {
        let mut reader = Reader::new(options);
        if reader.text("format").is_some_and(|format| format != "onnx") {
            reader.errors.push(OptionError::of("format", "the format of a model is 'onnx'"));
        }
        let path = reader.text("path");
        let mut names = |name: &'static str| {
            let names = reader.text(name).unwrap_or_default();
            let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        let (features, classes) = (names("features"), names("classes"));
        let output = reader.text("output");
        reader.refuse_unknown("a model of a file");
        let Some(path) = path.filter(|_| reader.errors.is_empty()) else {
            if !options.contains_key("path") {
                reader.errors.push(OptionError::general("a model of a file needs the option `path`"));
            }
            return Err(reader.errors);
        };
        Ok((PathBuf::from(path), Self { features, output, classes }))
    }
}

impl Trained {
    /// The model of a file, with the SHA-256 of it.
    ///
    /// # Errors
    /// If the file cannot be read, or something in it cannot be scored.
    pub fn from_onnx(name: &str, path: &Path, options: &OnnxOptions) -> Result<(Self, String)> {
        let read = || {
            if fs::metadata(path)?.len() > MOST_BYTES {
                return Err(std::io::Error::other("it has more than 1 GiB"));
            }
            fs::read(path)
        };
        let bytes = read().map_err(|source| Error::file("read", path, source))?;
        let imported = OnnxModel::read(&bytes, options).map_err(|reason| {
            Error::operator(format!("model {name:?}"), format!("{}: {reason}", path.display()))
        })?;
        Ok((Self::imported(name, imported), hex(&Sha256::digest(&bytes))))
    }

    fn imported(name: &str, imported: Imported) -> Self {
        let Imported { model, features, classes } = imported;
        let training = Training {
            name: name.to_owned(),
            algorithm: Algorithm::Onnx(model.task()),
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
            metrics: Vec::new(),
            importances: Vec::new(),
            chosen: String::new(),
            runs: Vec::new(),
            model: Models::One(Fitted::Onnx(model)),
            cases: BTreeMap::new(),
        }
    }
}
