"""The Open Inference Protocol (KServe's version 2) over REST and gRPC, for NVIDIA's clients too.

A model's tasks are reached by the request parameter `task`, or as a model of their own named
`model:task`, for clients that cannot send parameters. `rest` and `grpc_service` are the two
transports; what they have in common (`request`, `tensors`, `describe`) knows neither.
"""
