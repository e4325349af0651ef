//! Puts similar functions of a WebAssembly module next to each other, where a compressor, which looks back 32 KB, finds what they
//! have in common.
//!
//! This only gives the functions names in the wanted order; `wasm-opt --reorder-functions-by-name` does the rest.
//! The format: <https://webassembly.github.io/spec/core/binary/>.

use anyhow::{ensure, Context, Result};

const CUSTOM: u8 = 0;
const IMPORT: u8 = 2;
const FUNCTION: u8 = 3;
const CODE: u8 = 10;

/// The module with a name section in which the order of names is by type, then by body: a body begins with its local variables
/// and then its first instructions.
///
/// # Errors
/// If this is no module, or one with what wasm-bindgen does not make.
pub fn with_names_by_likeness(module: &[u8]) -> Result<Vec<u8>> {
    let mut reader = Reader(module);
    ensure!(reader.take(8)? == b"\0asm\x01\0\0\0", "this is no WebAssembly module");
    let (mut imported, mut types, mut bodies) = (0, Vec::new(), Vec::new());
    while !reader.0.is_empty() {
        let id = reader.byte()?;
        let mut section = Reader(reader.sized()?);
        match id {
            IMPORT => imported = section.imported_functions()?,
            FUNCTION => types = section.list(Reader::number)?,
            CODE => bodies = section.list(Reader::sized)?,
            _ => {}
        }
    }
    ensure!(types.len() == bodies.len(), "each function has a type and a body");
    let mut order: Vec<(usize, (u32, &[u8]))> = types.into_iter().zip(bodies).enumerate().collect();
    order.sort_by_key(|(_, likeness)| *likeness);

    let mut names: Vec<(u32, String)> = Vec::with_capacity(order.len());
    for (place, (index, _)) in order.iter().enumerate() {
        names.push((imported + u32::try_from(*index)?, format!("{place:06}")));
    }
    names.sort();
    let mut map = Vec::new();
    write_number(&mut map, names.len())?;
    for (index, name) in names {
        write_number(&mut map, index as usize)?;
        write_sized(&mut map, name.as_bytes())?;
    }
    let mut section = Vec::new();
    write_sized(&mut section, b"name")?;
    section.push(1); // function names
    write_sized(&mut section, &map)?;
    let mut named = module.to_vec();
    named.push(CUSTOM);
    write_sized(&mut named, &section)?;
    Ok(named)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).context("the module is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned number in LEB128.
    fn number(&mut self) -> Result<u32> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(number).context("a number is too large");
            }
        }
        anyhow::bail!("a number is too long")
    }

    fn sized(&mut self) -> Result<&'a [u8]> {
        let length = self.number()? as usize;
        self.take(length)
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        (0..self.number()?).map(|_| item(self)).collect()
    }

    /// How many functions are imported. They come first when functions are counted.
    fn imported_functions(&mut self) -> Result<u32> {
        let mut functions = 0;
        for _ in 0..self.number()? {
            self.sized()?; // module
            self.sized()?; // name
            match self.byte()? {
                0 => {
                    self.number()?;
                    functions += 1;
                }
                kind => anyhow::bail!("an import of kind {kind} was not expected"),
            }
        }
        Ok(functions)
    }
}

fn write_number(to: &mut Vec<u8>, number: usize) -> Result<()> {
    let mut rest = u32::try_from(number)?;
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        to.push(if rest == 0 { low & 0x7f } else { low | 0x80 });
        if rest == 0 {
            return Ok(());
        }
    }
}

fn write_sized(to: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    write_number(to, bytes.len())?;
    to.extend(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(module (import "e" "f" (func)) (func unreachable) (func) (func unreachable))`
    const MODULE: &[u8] = b"\0asm\x01\0\0\0\
        \x01\x04\x01\x60\x00\x00\
        \x02\x07\x01\x01e\x01f\x00\x00\
        \x03\x04\x03\x00\x00\x00\
        \x0a\x0c\x03\x03\x00\x00\x0b\x02\x00\x0b\x03\x00\x00\x0b";

    #[test]
    fn like_functions_get_neighbouring_names() {
        let named = with_names_by_likeness(MODULE).unwrap();
        let section = named.strip_prefix(MODULE).unwrap();
        // The functions 1 and 3 are alike and come first; 0 is imported.
        assert_eq!(
            section,
            b"\0\x20\x04name\x01\x19\x03\x01\x06000000\x02\x06000002\x03\x06000001"
        );
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for bytes in [&MODULE[..MODULE.len() - 1], b"", b"\0asm\x02\0\0\0"] {
            assert!(with_names_by_likeness(bytes).is_err());
        }
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for number in [0, 1, 127, 128, 300, 1 << 20, u32::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number as usize).unwrap();
            assert_eq!(Reader(&bytes).number().unwrap(), number);
        }
    }
}
