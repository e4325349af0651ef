"""Fails where a Dart file does not parse: tree-sitter's grammar reads them, since no Dart SDK is at hand."""

import sys

import tree_sitter
import tree_sitter_dart_orchard

parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_dart_orchard.language()))


def troubles(node):
    if node.type == "ERROR" or node.is_missing:
        yield node
    for child in node.children:
        yield from troubles(child)


found = 0
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        tree = parser.parse(file.read())
    for node in troubles(tree.root_node):
        found += 1
        line, column = node.start_point
        print(f"{path}:{line + 1}:{column + 1}: {node.type}: {node.text[:80].decode(errors='replace')}")
print(f"{len(sys.argv) - 1} files, {found} errors")
sys.exit(found > 0)
