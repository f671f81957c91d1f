//! A source that is written in Rust gives all columns of its declaration; a program reads those that it needs.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::declaration::SourceDeclaration;
use lineshaft_engine::source::{Chunk, ChunkSender, Decoded, Decoder, KeptKey, Partition, Source};
use lineshaft_engine::{Error, Result};

/// A source with the needed columns of its declaration, in their order.
pub(crate) struct Declared {
    source: Box<dyn Source>,
    decoder: Arc<DeclaredDecoder>,
}

impl Declared {
    /// # Errors
    /// If a column is missing or of another type.
    pub(crate) fn fit(source: Box<dyn Source>, declaration: &SourceDeclaration) -> Result<Box<dyn Source>> {
        let decoder = source.decoder();
        let schema = Arc::new(declaration.schema.project(&declaration.needed)?);
        let given = decoder.schema();
        let error = |reason| Error::connector("source", declaration.name.as_str(), reason);
        let mut places = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let (name, declared) = (field.name(), field.data_type());
            match given.column_with_name(name) {
                Some((place, found)) if found.data_type() == declared => places.push(place),
                Some((_, found)) => {
                    let found = found.data_type();
                    return Err(error(format!("column {name:?} is {found}, declared {declared}")));
                }
                None => return Err(error(format!("its decoder gives no column {name:?}"))),
            }
        }
        let decoder = Arc::new(DeclaredDecoder { decoder, places, schema });
        Ok(Box::new(Self { source, decoder }))
    }
}

impl Source for Declared {
    fn run(self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()> {
        self.source.run(chunks, runtime)
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::clone(&self.decoder) as Arc<dyn Decoder>
    }

    fn is_bounded(&self) -> bool {
        self.source.is_bounded()
    }

    fn partitions(&self) -> Vec<Partition> {
        self.source.partitions()
    }

    fn loads(&self) -> bool {
        self.source.loads()
    }

    fn go_on(&mut self, position: &[u8]) -> Result<()> {
        self.source.go_on(position)
    }

    fn knows(&mut self, keys: Vec<KeptKey>) {
        self.source.knows(keys);
    }

    fn repeats(&self) -> bool {
        self.source.repeats()
    }

    fn total_rows(&self) -> Option<u64> {
        self.source.total_rows()
    }

    fn total_bytes(&self) -> Option<u64> {
        self.source.total_bytes()
    }
}

#[derive(Clone)]
struct DeclaredDecoder {
    decoder: Arc<dyn Decoder>,
    /// Of each needed column, among those that the source gives.
    places: Vec<usize>,
    schema: SchemaRef,
}

impl DeclaredDecoder {
    /// NULL in a column that is declared NOT NULL is an error here.
    fn shape(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.places.iter().map(|place| Arc::clone(rows.column(*place))).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Decoder for DeclaredDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        let shape = self.clone();
        let shaped = move |decoded: Decoded| Ok(Decoded { rows: shape.shape(&decoded.rows)?, ..decoded });
        Ok(Box::new(self.decoder.decode(chunk)?.map(move |decoded| decoded.and_then(&shaped))))
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::{Collected, Rows, table};

    use super::Declared;
    use crate::Engine;

    const PROGRAM: &str =
        "CREATE SOURCE readings (n BIGINT, unused DOUBLE, machine TEXT) WITH (connector = 'memory');
        CREATE SINK machines WITH (connector = 'memory') AS SELECT machine, n FROM readings;";

    #[test]
    fn a_source_in_rust_gives_all_its_columns_in_any_order() {
        let mut engine = Engine::from_sql(PROGRAM).unwrap();
        let (rows, folder) = (Collected::default(), tempfile::tempdir().unwrap());
        let given = table("machine:s unused:f n:i \n press 0.5 1 \n saw 0.5 2");
        engine.data(folder.path()).add_source("readings", Rows::new(vec![given]));
        engine.add_sink("machines", std::sync::Arc::new(rows.clone()));
        engine.start().unwrap().wait().unwrap();
        assert_eq!(rows.sorted(), ["press 1", "saw 2"]);
    }

    #[test]
    fn a_source_in_rust_goes_on_or_repeats_as_it_says_itself() {
        let generator = "CREATE SOURCE readings (n BIGINT) WITH (connector = 'generator');
            CREATE SINK numbers WITH (connector = 'memory') AS SELECT n FROM readings;";
        let engine = Engine::from_sql(generator).unwrap();
        let mut declaration = engine.program.source("readings").unwrap().declaration.clone();
        declaration.needed = vec![0];
        let endless = lineshaft_connectors::generator::source(&declaration).unwrap();
        let mut endless = Declared::fit(endless, &declaration).unwrap();
        assert!(!endless.repeats() && !endless.loads());
        assert!(endless.go_on(b"nowhere").is_err());
        let mut ended = Declared::fit(Rows::new(vec![table("n:i \n 1")]), &declaration).unwrap();
        assert!(ended.repeats() && ended.go_on(b"nowhere").is_ok());
    }

    #[test]
    fn a_source_in_rust_that_gives_other_types_is_an_error_with_the_column() {
        for (given, expected) in [
            ("machine:s n:f \n press 1", "column \"n\" is Float64, declared Int64"),
            ("machine:s \n press", "its decoder gives no column \"n\""),
        ] {
            let mut engine = Engine::from_sql(PROGRAM).unwrap();
            engine.add_source("readings", Rows::new(vec![table(given)]));
            let error = engine.start().err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
