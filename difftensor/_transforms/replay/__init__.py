"""checkpointed: a plain Python loop whose past values are dropped and computed again for the sweep.

While such a loop runs, the tracked Tensors of the calling function are of the class `Kept`, which every operation meets
as an unusual operand and sends here. The operation is recorded as always, on the one tape; then what its node saved is
replaced by a `Mark`, and a `Block` of steps remembers how to compute it again: the operation and where its operands
come from. Values that a block uses and does not compute are its snapshot. A sweep goes through the tape block by
block: replay, sweep, drop again.

What is recorded past `Kept` (inner transformations, custom rules, batched values) keeps its saved values as on any
tape: that costs memory, never correctness.

block  what was dropped, and how to compute it again
kept   Tensors while the loop runs
loop   the loop
"""

from difftensor._transforms.replay.block import Block, blocks, drop, pieces
from difftensor._transforms.replay.loop import checkpointed

__all__ = ["Block", "blocks", "checkpointed", "drop", "pieces"]
