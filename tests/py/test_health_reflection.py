"""grpc.health.v1 and server reflection, as balancers and grpcurl use them."""

import queue
import threading

import grpc
import pytest
from client import TIMEOUT_S, tiny_options
from contract import pb
from daemon import Daemon
from grpc_health.v1 import health_pb2, health_pb2_grpc
from yagrc.reflector import GrpcReflectionClient, list_services

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", "cellseg.v1.Segmenter", "cells_640", "tiny"])
def test_every_service_and_model_is_serving(daemon, service):
    request = health_pb2.HealthCheckRequest(service=service)
    with daemon.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(request, timeout=TIMEOUT_S).status == SERVING
        watch = health.Watch(request, timeout=TIMEOUT_S)
        assert next(watch).status == SERVING
        watch.cancel()


def test_an_unknown_service_is_not_found(daemon):
    with daemon.channel() as channel, pytest.raises(grpc.RpcError) as error:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=TIMEOUT_S)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_watcher_hears_of_the_end(tmp_path, settings):
    heard = queue.SimpleQueue()

    def watch(channel):
        try:
            for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S):
                heard.put(answer.status)
        except grpc.RpcError:
            pass

    with Daemon(tmp_path / "daemon", settings) as daemon, daemon.channel() as channel:
        watcher = threading.Thread(target=watch, args=[channel], daemon=True)
        watcher.start()
        assert heard.get(timeout=TIMEOUT_S) == SERVING
        daemon.terminate()
        assert heard.get(timeout=TIMEOUT_S) == NOT_SERVING
        watcher.join(TIMEOUT_S)
        assert not watcher.is_alive()


def test_the_services_are_listed(daemon):
    with daemon.channel() as channel:
        services = set(list_services(channel))
    assert {"cellseg.v1.Segmenter", "grpc.health.v1.Health"} <= services


def test_a_stranger_can_call_with_no_proto_at_hand(daemon):
    with daemon.channel() as channel:
        reflection = GrpcReflectionClient()
        reflection.load_protocols(channel, symbols=["cellseg.v1.Segmenter"])
        stub = reflection.service_stub_class("cellseg.v1.Segmenter")(channel)
        request = reflection.message_class("cellseg.v1.ListModelsRequest")()
        names = [model.name for model in stub.ListModels(request, timeout=TIMEOUT_S).models]
    assert names == ["cells_640", "tiny"]


def test_reflected_messages_are_those_of_proto(daemon):
    """What a client generated from proto/ sends is what one that reflects sends."""
    with daemon.channel() as channel:
        importer = GrpcReflectionClient()
        importer.load_protocols(channel, symbols=["cellseg.v1.Segmenter"])
        reflected = importer.message_class("cellseg.v1.SessionOptions")
    ours = tiny_options(window=3, name="scope-2")
    assert reflected.FromString(ours.SerializeToString()).name == "scope-2"
    fields = {(f.name, f.number) for f in pb.SessionOptions.DESCRIPTOR.fields}
    assert {(f.name, f.number) for f in reflected.DESCRIPTOR.fields} == fields
