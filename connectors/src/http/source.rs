//! The source: a path of a server, open while the program runs.

use std::sync::Arc;

use arrow::datatypes::DataType;
use lineshaft_engine::declaration::{OptionError, SourceDeclaration};
use lineshaft_engine::source::{ChunkSender, Decoder, KeptKey, Source};
use lineshaft_engine::{Error, Result, TIMESTAMP};

use super::endpoint::Endpoint;
use super::options::{SOURCE_OPTIONS, SourceOptions};
use super::server::{Limits, Place, Servers};
use crate::MetadataColumn;
use crate::format::MessageDecoder;
use crate::options::OptionReader;

/// The columns that a source gives.
pub const METADATA: &[MetadataColumn] = &[
    MetadataColumn { name: "path", data_type: DataType::Utf8 },
    MetadataColumn { name: "remote", data_type: DataType::Utf8 },
    MetadataColumn { name: "received_at", data_type: TIMESTAMP },
];

/// A source of the bodies of requests; its server listens from now on.
///
/// # Errors
/// All that is wrong with the options and columns, or that the address or path is taken.
pub fn source(
    declaration: &SourceDeclaration,
    servers: &Servers,
) -> Result<Box<dyn Source>, Vec<OptionError>> {
    source_within(declaration, servers, Limits::default()).map(|source| Box::new(source) as _)
}

/// What is wrong with the declaration of a source; does not listen.
pub(crate) fn check_source(declaration: &SourceDeclaration) -> Vec<OptionError> {
    read(declaration).err().unwrap_or_default()
}

/// A source with other limits, for tests.
pub(super) fn source_within(
    declaration: &SourceDeclaration,
    servers: &Servers,
    limits: Limits,
) -> Result<HttpSource, Vec<OptionError>> {
    let (options, decoder) = read(declaration)?;
    let place = servers.place(options.listen, &options.path).map_err(|error| vec![error])?;
    Ok(HttpSource {
        name: declaration.name.clone(),
        options,
        limits,
        decoder: Arc::new(decoder),
        place,
        kept: vec![],
    })
}

fn read(declaration: &SourceDeclaration) -> Result<(SourceOptions, MessageDecoder), Vec<OptionError>> {
    let mut read = OptionReader::new("source", "http", &declaration.options, SOURCE_OPTIONS);
    let options = SourceOptions::read(&declaration.name, &mut read);
    let decoder = MessageDecoder::of_requests(declaration, &mut read, options.max_payload);
    read.finish((options, decoder))
}

/// A source of the bodies of requests.
#[derive(Debug)]
pub(super) struct HttpSource {
    name: String,
    options: SourceOptions,
    limits: Limits,
    decoder: Arc<MessageDecoder>,
    pub(super) place: Place,
    /// Requests of before.
    kept: Vec<KeptKey>,
}

impl Source for HttpSource {
    fn run(self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()> {
        let Self { name, options, limits, decoder, place, kept } = *self;
        let address = place.address();
        if !address.ip().is_loopback() && options.token.is_none() {
            tracing::warn!("source {name:?} has no token: whoever reaches {address} can send it rows");
        }
        runtime.block_on(async {
            let endpoint = Endpoint::new(&options, limits, decoder, chunks.clone(), kept);
            let opened = place.open(Arc::new(endpoint), limits);
            opened.map_err(|error| Error::connector("http source", &name, error))?;
            tracing::info!("source {name:?} listens on http://{address}{}", options.path);
            chunks.stopped().await;
            place.close().await;
            Ok(())
        })
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::<MessageDecoder>::clone(&self.decoder)
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn knows(&mut self, keys: Vec<KeptKey>) {
        self.kept = keys;
    }
}
