"""Numba's compiler with six changes.

Loops are vectorised with the host's full register width, and with several or longer vectors side
by side where asked (``interleave``, ``lanes``). Functions marked ``cold`` are kept out of line.
Passes for constructs that kernels do not use are left out. No full garbage collection runs
meanwhile. And a kernel that is called by other kernels gets no wrapper for Python, no machine code
of its own and no optimisation: callers copy its body and optimise the result, so all three would
be wasted, and take two fifths of a first fit. They are made on demand: ``LazyLibrary`` makes
machine code when an address is first asked for, ``LazyDispatcher`` has a twin for calls from
Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder, compile_result
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import InlineOverloads, NativeLowering, NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes

from ._convention import INLINES, entry_module, entry_name, widen
from ._garbage import no_full_collections

llvm.initialize_native_asmparser()  # for no-ops between tile instructions (``kernels.squares``)


def _advise(function: Any, hints: dict[str, int]) -> None:
    """Give these hints (``llvm.loop.*``) for all loops of a function."""
    module, place = function.module, {block: n for n, block in enumerate(function.blocks)}
    for block, n in place.items():
        targets = [one for one in block.terminator.operands if isinstance(one, ir.Block)]
        if any(place[one] <= n for one in targets):
            given = [module.add_metadata([f"llvm.loop.{name}", ir.Constant(ir.IntType(32), value)])
                     for name, value in hints.items()]
            loop = ir.MDValue(module, (), str(len(module.metadata)))
            loop.operands = (loop, *given)  # first itself, by which LLVM tells loops apart
            block.terminator.set_metadata("llvm.loop", loop)


class _WideLower(Lower):  # type: ignore[misc]
    def lower_normal_function(self, fndesc: Any) -> None:
        super().lower_normal_function(fndesc)
        widen(self.function)
        if hints := getattr(self.func_ir.func_id.func, "loop_hints", None):
            _advise(self.function, hints)
        if getattr(self.func_ir.func_id.func, "cold", False):
            for attribute in ("cold", "noinline"):
                self.function.attributes.add(attribute)


@register_pass(mutates_CFG=True, analysis_only=False)
class _WideLowering(NativeLowering):  # type: ignore[misc]
    """Numba's lowering, with loops vectorised with the host's full register width."""

    _name = "fastbp_wide_lowering"
    lowering_class = _WideLower


@register_pass(mutates_CFG=True, analysis_only=False)
class _LazyLowering(_WideLowering):
    """The same, but only down to LLVM code, which callers copy."""

    _name = "fastbp_lazy_lowering"

    def run_pass(self, state: Any) -> bool:
        codegen = state.targetctx.codegen()
        library = state.library = LazyLibrary(codegen, state.func_id.func_qualname)
        library.enable_object_caching()
        state.flags.no_compile = True
        done: bool = super().run_pass(state)
        library.finalize()
        key = object()  # by which callers find it
        state.targetctx.insert_user_function(key, state["cr"].fndesc, [library])
        state["cr"] = state["cr"]._replace(cfunc=key)
        return done


class LazyLibrary(JITCodeLibrary):  # type: ignore[misc]
    """LLVM code that is optimised and turned into machine code when an address is first asked for.

    Attributes
    ----------
    waits : bool
        Whether no address has been asked for yet.
    """

    waits = False
    _entered = False

    def _optimize_final_module(self) -> None:
        """Do nothing: callers optimise their copies anyway."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()  # code with addresses of this process is not cached
        self._finalized = self.waits = True

    def get_pointer_to_function(self, name: str) -> int:
        """Address of a function of the library, 0 if there is none of this name."""
        with global_compiler_lock:
            if self.waits:
                super()._optimize_final_module()
                super()._finalize_final_module()
                self.waits = False
        return int(super().get_pointer_to_function(name))

    def enter_by(self, module: Any, inner: str) -> None:
        """Link in, once, a module with a function that calls ``inner`` and nothing else."""
        if not self._entered:
            self._get_module_for_linking()  # the code that callers copy
            self._final_module.link_in(llvm.parse_assembly(str(module)))
            if INLINES:
                self._final_module.get_function(inner).linkage = llvm.Linkage.internal
            self._entered = True

    def serialize_using_object_code(self) -> Any:
        """State for the cache: machine code if there is any, else bitcode."""
        return (self.serialize_using_bitcode() if self.waits
                else super().serialize_using_object_code())

    @classmethod
    def restore(cls, codegen: Any, state: Any) -> Any:
        """The library that a cache kept as ``state``."""
        name, kind, data = state
        if kind != "bitcode":
            return codegen.unserialize_library(state)
        library = cls(codegen, name)
        library.enable_object_caching()
        library._final_module = llvm.parse_bitcode(data)
        library._finalized = library.waits = True
        return library


#: Passes for constructs that no kernel has: nested functions and expressions of whole arrays.
#: Parallel loops (``driver``) need them.
_NEEDLESS = (InlineClosureLikes, InlineOverloads, NopythonRewrites)


class Compiler(CompilerBase):  # type: ignore[misc]
    """Numba's compiler with other passes, and without full garbage collections."""

    lowering: Any = _WideLowering

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        """Compile a function; called with Numba's compiler lock held."""
        with no_full_collections():
            return super().compile_extra(func)

    def define_pipelines(self) -> list[Any]:
        """Numba's passes with the lowering replaced, and without those not needed here."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        needless = () if self.state.flags.auto_parallel.enabled else _NEEDLESS
        passes.passes = [(self.lowering if one is NativeLowering else one, why)
                         for one, why in passes.passes if one not in needless]
        passes.finalize()
        return [passes]


class LazyCompiler(Compiler):
    """Compiler of kernels that other kernels call."""

    lowering = _LazyLowering


class LazyDispatcher(CPUDispatcher):  # type: ignore[misc]
    """A kernel that other kernels call.

    Attributes
    ----------
    make_twin : callable
        Makes the dispatcher for calls from Python; if None, one without a cache is made.
    """

    make_twin: Callable[[], Any] | None = None
    _twin: Any = None
    _ways_in: frozenset[tuple[int, ...]] = frozenset()

    def __init__(self, py_func: Any, locals: Any = None, targetoptions: Any = None,
                 pipeline_class: Any = LazyCompiler) -> None:
        # Numba 0.61 takes no None for ``locals``.
        super().__init__(py_func, locals or {}, targetoptions, pipeline_class)

    def add_overload(self, compiled: Any) -> None:
        """Register a compiled overload, which has no entry point for Python."""
        self.overloads[tuple(compiled.signature.args)] = compiled

    def _compile_for_args(self, *args: Any, **kwargs: Any) -> Any:
        """Python's first call with arguments of these types; later calls do not get here."""
        with global_compiler_lock:
            self._twin = self._twin or (self.make_twin or self._plain_twin)()
            entry = self._twin._compile_for_args(*args, **kwargs)
            codes = tuple(self.typeof_pyval(arg)._code for arg in args)
            if codes not in self._ways_in:  # inserted twice, it would be ambiguous
                self._ways_in |= {codes}
                self._insert(list(codes), entry, False)
        return entry

    def _plain_twin(self) -> Any:
        options = {k: v for k, v in self.targetoptions.items() if k != "no_cpython_wrapper"}
        return CPUDispatcher(self.py_func, targetoptions=options, pipeline_class=Compiler)


def machine_code(compiled: Any) -> tuple[int, bool]:
    """(address of a compiled overload, for calls by ``_convention``; whether its machine code was
    made just now)."""
    library, fndesc, name = compiled.library, compiled.fndesc, entry_name(compiled.fndesc)
    with global_compiler_lock:
        waited = getattr(library, "waits", False)
        if waited:
            library.enter_by(entry_module(compiled.target_context, fndesc), fndesc.llvm_func_name)
            library.get_pointer_to_function(name)
        # Not from the library: one from the cache does not know that its code has this function.
        address = library.codegen._engine.get_function_address(name)
        if not address:  # compiled by Numba's own compiler, without such a function
            entry = library.codegen.create_library(name)
            entry.add_ir_module(entry_module(compiled.target_context, fndesc))
            entry.add_linking_library(library)
            entry.finalize()
            address = entry.get_pointer_to_function(name)
    return int(address), waited


def rebuild(context: Any, parts: tuple[Any, ...]) -> Any:
    """A kernel that other kernels call, rebuilt from the result of ``CompileResult._reduce``.

    It needs no environment, which serves exceptions and Python objects.
    """
    data, fndesc, env, signature, _, lifted, _, reload_init, referenced = parts
    return compile_result(
        target_context=context, typing_context=context.typing_context,
        library=LazyLibrary.restore(context.codegen(), data), environment=env,
        entry_point=object(), fndesc=fndesc, signature=signature, objectmode=False,
        lifted=lifted, typing_error=None, reload_init=reload_init, referenced_envs=referenced)


__all__ = ["Compiler", "LazyCompiler", "LazyDispatcher", "LazyLibrary", "machine_code",
           "rebuild"]
