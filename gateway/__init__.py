"""Readers over HTTP: what a request says, in the formats that clients of other services speak.

`stream-router gateway` serves it. It keeps nothing: all that it knows is in the routers, so any gateway goes on with
any stream, and one that dies costs its readers a connection. docs/gateway.md says what is served, and what is not.

    config.py    the section `gateway` of a configuration
    formats/     messages in, bytes out; pure
    access.py    who may do what; pure
    runs/        starting agents, in actors that outlive the gateway
    serving/     the HTTP server
    page/        what it shows to whoever opens its address in a browser: plain files
    workers/     several gateways that share a port, in actors
"""
