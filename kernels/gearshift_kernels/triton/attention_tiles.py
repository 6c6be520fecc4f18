from gearshift_kernels.triton.launch import Tiles
def attention_tiles(device, heads, tokens, head_dim, dtype):
    return Tiles({"BLOCK_M": 256, "BLOCK_N": 256})
