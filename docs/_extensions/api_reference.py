"""The directive ``api``: a table of the public names of a module, and their docstrings.

````{api} nnbackend.losses
````

documents all of the module's ``__all__``; with names in its body only those, after the module's
docstring with ``:docstring:``. ``:inherited:`` lists what classes have from bases of ours, too. A name
that is in the package's own ``__all__`` is documented as ``nnbackend.NAME``. The other public paths
that lead to the same object are entered as aliases, so that each can be referred to and is in the
site's inventory.
"""

from __future__ import annotations

import inspect
import pkgutil
from pydoc import locate
from typing import TYPE_CHECKING, Any, ClassVar

from docutils.parsers.rst.directives import flag
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

import nnbackend
from nnbackend.core.registry import FunctionRegistry, Registry

if TYPE_CHECKING:
    from docutils.nodes import Node
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

PACKAGE = nnbackend.__name__
# Whose methods are documented elsewhere: with :inherited: only those of our own bases are listed.
OTHERS = "object, BaseEstimator, ClassifierMixin, RegressorMixin, dict, tuple"


def path_of(module: str, name: str) -> str:
    """Return the path under which a name is documented: the package's own, if it is public there."""
    value = getattr(locate(module), name)
    is_own = name in nnbackend.__all__ and getattr(nnbackend, name) is value
    return f"{PACKAGE}.{name}" if is_own else f"{module}.{name}"


def lines_for(path: str, options: list[str]) -> list[str]:
    """Return the lines of reStructuredText that document the object at ``path``."""
    module, _, name = path.rpartition(".")
    value = getattr(locate(module), name)
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, Exception) else "class"
        return [f".. auto{kind}:: {path}", *options, ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {path}", ""]
    if isinstance(value, Registry | FunctionRegistry):
        names = ", ".join(f'``"{key}"``' for key in sorted(value))
        text = [f"The {value.kind} classes or functions by name: {names}."]
    elif type(value).__module__.startswith(f"{PACKAGE}."):  # losses: objects that can be called
        text = [f":class:`~{module}.{type(value).__name__}` with its defaults."]
    else:
        text = comment_of(module, name)
    text = [f"   {line}" for line in text]
    return [f".. py:data:: {name}", f"   :module: {module}", "", *text, ""]


def comment_of(module: str, name: str) -> list[str]:
    """Return the docstring after the assignment of a name, in the module or one below it."""
    names = [module, *(found for found in public_modules() if found.startswith(f"{module}."))]
    for place in names:
        comments = ModuleAnalyzer.for_module(locate(place).__name__).find_attr_docs()
        if ("", name) in comments:
            return comments["", name]
    raise LookupError(f"{module}.{name} has no docstring after its assignment")


class API(SphinxDirective):
    """Write the reference of a module's public names, or of those in the body."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict] = {"inherited": flag, "docstring": flag}

    def run(self) -> list[Node]:
        """Return the table and the entries, from reStructuredText within MyST."""
        module = self.arguments[0]
        names = " ".join(self.content).split()
        lines = [f".. currentmodule:: {module}", ""]
        if not names or "docstring" in self.options:
            lines = [f".. automodule:: {module}", "   :no-members:", ""]
        names = names or list(locate(module).__all__)
        values = {name: getattr(locate(module), name) for name in names}
        names = [name for name in names if not inspect.ismodule(values[name])]
        lines += table_of([name for name in names if has_docstring(values[name])], module)
        options = [f"   :inherited-members: {OTHERS}"] if "inherited" in self.options else []
        for name in names:
            lines += lines_for(path_of(module, name), options)
        return self.parse_text_to_nodes("\n".join(["````{eval-rst}", *lines, "````"]))


def table_of(names: list[str], module: str) -> list[str]:
    """Return a table of names with the first lines of their docstrings."""
    if not names:
        return []
    rows = [".. list-table::", "   :widths: auto", "   :class: api-table", ""]
    for name in names:
        docstring = getattr(locate(module), name).__doc__ or ""
        rows += [f"   * - :py:obj:`{name}`", f"     - {docstring.strip().partition(chr(10))[0]}"]
    return [*rows, ""]


def has_docstring(value: Any) -> bool:
    """Return whether this is a class or a function, whose docstring is its own."""
    return inspect.isclass(value) or inspect.isroutine(value)


def skip_member(
    app: Sphinx, kind: str, name: str, value: Any, skip: bool, options: Any
) -> bool | None:
    """Skip what our classes got from elsewhere: methods of scikit-learn's, fields of named tuples."""
    module = getattr(value, "__module__", None) or PACKAGE
    is_field = type(value).__name__ == "_tuplegetter"
    return True if is_field or not module.startswith(PACKAGE) else None


def public_modules() -> list[str]:
    """Return the paths of the package's modules, those first that its ``__all__`` has."""
    own = [f"{PACKAGE}.{name}" for name in nnbackend.__all__]
    own = [path for path in own if inspect.ismodule(locate(path))]
    found = [module.name for module in pkgutil.walk_packages(nnbackend.__path__, f"{PACKAGE}.")]
    return [PACKAGE, *own, *(name for name in found if "__main__" not in name and name not in own)]


def add_aliases(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Enter, for each documented object, the other modules whose ``__all__`` has it."""
    objects = env.domains.python_domain.objects
    values = {
        f"{module}.{name}": getattr(locate(module), name)
        for module in public_modules()
        for name in getattr(locate(module), "__all__", [])
    }
    documented = {id(value): objects[path] for path, value in values.items() if path in objects}
    for path, value in values.items():
        if path not in objects and id(value) in documented and has_docstring(value):
            objects[path] = documented[id(value)]._replace(aliased=True)
    return []


def start_with_prose(
    app: Sphinx, kind: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Keep napoleon from taking what is before a colon, in an attribute's first line, for its type."""
    if kind in ("attribute", "property", "data") and lines:
        lines.insert(0, "\\")  # joined with what follows, without a space


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive, and the aliases when all pages have been read."""
    app.add_directive("api", API)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", start_with_prose, priority=400)
    app.connect("env-updated", add_aliases)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
