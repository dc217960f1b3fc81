//! A function fits a screen, and a file can be read in one sitting.

use crate::{Complaint, items::Items, source::Source};

const FUNCTION_LINES_MAX: usize = 60;
const FILE_LINES_MAX: usize = 500;

pub(crate) fn check(source: &Source, items: &Items) -> Vec<Complaint> {
    let complaint = |line, what| Complaint { file: source.file.clone(), line, what };
    let too_long = items.functions.iter().filter_map(|function| {
        let count = function.lines.end + 1 - function.lines.start;
        let what = format!("`{}` has {count} lines: at most {FUNCTION_LINES_MAX}", function.name);
        (count > FUNCTION_LINES_MAX && !function.is_test)
            .then(|| complaint(function.lines.start, what))
    });
    let file = (source.lines > FILE_LINES_MAX).then(|| {
        let what = format!("a file of {} lines: at most {FILE_LINES_MAX}", source.lines);
        complaint(FILE_LINES_MAX + 1, what)
    });
    too_long.chain(file).collect()
}
