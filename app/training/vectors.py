"""A processor's vector of float32 as one value of a compiled loop, and the sums of products that tiles are made of.

A tile is a few vectors that stay in registers while a loop runs: `sums[a][c]`, a tuple of tuples. Six to twelve of them
hide the latency of a multiply-add, and each number that is loaded is used several times. LLVM does not find this by
itself in a loop over rows, so the instructions are spelt out; it translates them for every processor, also for one
whose vectors are shorter.

Counts are told by types: a `Count` is a tuple of so many zeros. Rows are a tuple of their numbers.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8
"""Numbers of a vector: 512 bits where the processor has them, else 256."""

ONE, TWO, THREE, FOUR, FIVE = ((0,) * size for size in range(1, 6))
"""Counts."""

_LLVM_TYPE = ir.VectorType(ir.FloatType(), LANES)
_NUMBER = ir.IntType(32)


class Vector(types.Type):
    """LANES numbers of float32."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _LLVM_TYPE)  # type: ignore[no-untyped-call]


VECTOR = Vector()


def _place(context: Any, builder: Any, kind: Any, array: Any, row: Any, column: Any) -> Any:
    """The address of array[row, column]."""
    held = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, held, [row, column], wraparound=False)  # type: ignore[no-untyped-call]


def _vector_at(builder: Any, place: Any) -> Any:
    return builder.bitcast(place, _LLVM_TYPE.as_pointer())


def _load(builder: Any, place: Any) -> Any:
    """LANES numbers from an address on."""
    return builder.load(_vector_at(builder, place), align=4)


def _everywhere(builder: Any, number: Any) -> Any:
    """One number in every lane."""
    nothing = ir.Constant(_LLVM_TYPE, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(_NUMBER, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_NUMBER, LANES), [0] * LANES))


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c, in one instruction where the processor has one."""
    shape = ir.FunctionType(_LLVM_TYPE, [_LLVM_TYPE] * 3)
    function = cgutils.get_or_insert_function(builder.module, shape, f"llvm.fmuladd.v{LANES}f32")  # type: ignore[no-untyped-call]
    return builder.call(function, [a, b, c])


def _total(builder: Any, vector: Any) -> Any:
    """The sum of a vector's numbers, in any order."""
    number = ir.FloatType()
    shape = ir.FunctionType(number, [number, _LLVM_TYPE])
    name = f"llvm.vector.reduce.fadd.v{LANES}f32"
    function = cgutils.get_or_insert_function(builder.module, shape, name)  # type: ignore[no-untyped-call]
    return builder.call(function, [ir.Constant(number, 0.0), vector], fastmath=("reassoc",))


def _after(builder: Any, number: Any, steps: Any) -> Any:
    return builder.add(number, ir.Constant(number.type, steps))


def _opened(builder: Any, tile: Any, kind: Any) -> Any:
    """The vectors of a tile, as lists."""
    outer = [builder.extract_value(tile, a) for a in range(kind.count)]
    return [[builder.extract_value(inner, c) for c in range(kind.dtype.count)] for inner in outer]


def _closed(context: Any, builder: Any, vectors: Any, kind: Any) -> Any:
    """A tile of these vectors."""
    return context.make_tuple(builder, kind, [context.make_tuple(builder, kind.dtype, inner) for inner in vectors])


def _zeros(typing: Any, outer: Any, inner: Any) -> Any:
    """A tile of zeros: `outer` times `inner` vectors, both a `Count`."""
    kind = types.UniTuple(types.UniTuple(VECTOR, inner.count), outer.count)  # type: ignore[no-untyped-call]

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        zero = ir.Constant(_LLVM_TYPE, [0.0] * LANES)
        return _closed(context, builder, [[zero] * inner.count] * outer.count, kind)

    return kind(outer, inner), generate


def _following(typing: Any, i: Any, count: Any) -> Any:
    """The rows i, i + 1, …, as many as the count."""
    kind = types.UniTuple(types.intp, count.count)  # type: ignore[no-untyped-call]

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return context.make_tuple(builder, kind, [_after(builder, arguments[0], a) for a in range(count.count)])

    return kind(types.intp, count), generate


def _rows_of(typing: Any, order: Any, i: Any, last: Any, count: Any) -> Any:
    """The rows order[i], order[i + 1], …, as many as the count; order[last] again and again from there on."""
    kind = types.UniTuple(types.intp, count.count)  # type: ignore[no-untyped-call]

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, first, end, _ = arguments
        held = context.make_array(order)(context, builder, array)
        rows = []
        for a in range(count.count):
            place = _after(builder, first, a)
            place = builder.select(builder.icmp_signed("<", place, end), place, end)
            address = cgutils.get_item_pointer(context, builder, order, held, [place], wraparound=False)  # type: ignore[no-untyped-call]
            rows.append(builder.sext(builder.load(address), place.type))
        return context.make_tuple(builder, kind, rows)

    return kind(order, types.intp, types.intp, count), generate


def _vectors_at(typing: Any, X: Any, rows: Any, j: Any) -> Any:
    """X[row, j…] of each row, one vector each; bytes become float32."""
    kind = types.UniTuple(VECTOR, rows.count)  # type: ignore[no-untyped-call]
    are_octets = X.dtype == types.uint8
    held_type = ir.VectorType(ir.IntType(8), LANES) if are_octets else _LLVM_TYPE

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, places, column = arguments
        vectors = []
        for a in range(rows.count):
            place = _place(context, builder, X, array, builder.extract_value(places, a), column)
            held = builder.load(builder.bitcast(place, held_type.as_pointer()), align=1 if are_octets else 4)
            vectors.append(builder.uitofp(held, _LLVM_TYPE) if are_octets else held)
        return context.make_tuple(builder, kind, vectors)

    return kind(X, rows, types.intp), generate


def _put_vectors(typing: Any, vectors: Any, X: Any, rows: Any, j: Any) -> Any:
    """X[row, j…] = the vector of each row."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        held, array, places, column = arguments
        for a in range(rows.count):
            place = _place(context, builder, X, array, builder.extract_value(places, a), column)
            builder.store(builder.extract_value(held, a), _vector_at(builder, place), align=4)
        return context.get_dummy_value()

    return types.void(vectors, X, rows, types.intp), generate


def _add_products(typing: Any, sums: Any, features: Any, W: Any, c: Any, j: Any) -> Any:
    """sums[a][b] + features[a]·W[c + b, j…], lane by lane."""
    rows, classes = sums.count, sums.dtype.count

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        held, vectors, w_array, first, column = arguments
        tile = _opened(builder, held, sums)
        for b in range(classes):
            weights = _load(builder, _place(context, builder, W, w_array, _after(builder, first, b), column))
            for a in range(rows):
                tile[a][b] = _multiply_add(builder, builder.extract_value(vectors, a), weights, tile[a][b])
        return _closed(context, builder, tile, sums)

    return sums(sums, features, W, types.intp, types.intp), generate


def _add_totals(typing: Any, sums: Any, z: Any, c: Any, i: Any) -> Any:
    """z[c + b, i + a] += the total of sums[a][b]."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        held, array, first, row = arguments
        for a, inner in enumerate(_opened(builder, held, sums)):
            for b, vector in enumerate(inner):
                place = _place(context, builder, z, array, _after(builder, first, b), _after(builder, row, a))
                builder.store(builder.fadd(builder.load(place), _total(builder, vector)), place)
        return context.get_dummy_value()

    return types.void(sums, z, types.intp, types.intp), generate


def _add_slopes(typing: Any, sums: Any, X: Any, i: Any, j: Any, z: Any, c: Any) -> Any:
    """sums[a][b] + z[c + b, i]·X[i, j + a·LANES…], lane by lane."""
    vectors, classes = sums.count, sums.dtype.count

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        held, x_array, row, column, z_array, first = arguments
        tile = _opened(builder, held, sums)
        features = [
            _load(builder, _place(context, builder, X, x_array, row, _after(builder, column, a * LANES)))
            for a in range(vectors)
        ]
        for b in range(classes):
            place = _place(context, builder, z, z_array, _after(builder, first, b), row)
            slope = _everywhere(builder, builder.load(place))
            for a in range(vectors):
                tile[a][b] = _multiply_add(builder, slope, features[a], tile[a][b])
        return _closed(context, builder, tile, sums)

    return sums(sums, X, types.intp, types.intp, z, types.intp), generate


def _add_vectors(typing: Any, sums: Any, G: Any, c: Any, j: Any) -> Any:
    """G[c + b, j + a·LANES…] += sums[a][b]."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        held, array, first, column = arguments
        for a, inner in enumerate(_opened(builder, held, sums)):
            for b, vector in enumerate(inner):
                row, start = _after(builder, first, b), _after(builder, column, a * LANES)
                place = _vector_at(builder, _place(context, builder, G, array, row, start))
                builder.store(builder.fadd(builder.load(place, align=4), vector), place, align=4)
        return context.get_dummy_value()

    return types.void(sums, G, types.intp, types.intp), generate


def _copy_past_caches(typing: Any, source: Any, target: Any, i: Any) -> Any:
    """target[i…] = source[i…], one vector, whose addresses are multiples of its size."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        places = []
        for kind, array in zip((source, target), arguments[:2], strict=True):
            held = context.make_array(kind)(context, builder, array)
            place = cgutils.get_item_pointer(context, builder, kind, held, [arguments[2]], wraparound=False)  # type: ignore[no-untyped-call]
            places.append(_vector_at(builder, place))
        stored = builder.store(builder.load(places[0], align=4 * LANES), places[1], align=4 * LANES)
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_NUMBER, 1)]))
        return context.get_dummy_value()

    return types.void(source, target, types.intp), generate


zeros: Callable[..., Any] = intrinsic(_zeros)
following: Callable[..., Any] = intrinsic(_following)
rows_of: Callable[..., Any] = intrinsic(_rows_of)
vectors_at: Callable[..., Any] = intrinsic(_vectors_at)
put_vectors: Callable[..., None] = intrinsic(_put_vectors)
add_products: Callable[..., Any] = intrinsic(_add_products)
add_totals: Callable[..., None] = intrinsic(_add_totals)
add_slopes: Callable[..., Any] = intrinsic(_add_slopes)
add_vectors: Callable[..., None] = intrinsic(_add_vectors)
copy_past_caches: Callable[..., None] = intrinsic(_copy_past_caches)
