"""Engine: the seam to vLLM, in the only file that imports it.

An engine samples token ids from token ids. vLLM's interfaces change often; the rest of the project
relies on this class alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from actors.generator.inprocess_engine import EngineDeadError, EngineThread
from actors.generator.types import EngineOutput, Sampling
from unisd_core.common.fast_imports import importing
from unisd_core.common.process import lower_priority, usable_cores
from unisd_core.config.stages import GeneratorConfig

UNIPROC = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""By its path: given its name, vLLM chooses for itself, and on CPU it chooses processes."""


class Engine:
    """One asynchronous vLLM engine. Call :meth:`start` on the event loop that will use it."""

    def __init__(
        self, model_dir: Path, dtype: str, max_length: int, settings: GeneratorConfig
    ) -> None:
        self.model_dir, self.dtype, self.max_length = model_dir, dtype, max_length
        self.settings = settings
        self._engine: Any = None
        self._holders = self._adding = 0
        self._holding = asyncio.Lock()
        self._failure: BaseException | None = None
        self._arrived: list[str] = []
        self._adapter_ids = 0
        self._logprob_calls = 0
        self.steps = 0
        """Engine steps that gave tokens; stands still while requests run only if it hangs."""

    async def start(self, lora_rank: int, adapters: int) -> None:
        """Load the model. ``adapters`` > 0 reserves room for that many LoRA versions of
        ``lora_rank``."""
        settings = self.settings
        if settings.gpus == 0:
            self._set_cpu_environment()
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        alone = (
            settings.gpus == 0 and settings.tensor_parallel_size == 1 and not settings.own_process
        )
        # Where vLLM looks for whether its synchronous engine computes in this process.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(not alone))
        options = self._options(lora_rank, adapters)
        if alone:
            self._engine = EngineThread(self._count_step)
            await self._engine.start(lambda: self._in_this_thread(options))
            return
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        if settings.gpus == 0:
            lower_priority()
        self._engine = AsyncLLM.from_engine_args(
            AsyncEngineArgs(**options), stat_loggers=[self._step_counter()]
        )

    def _in_this_thread(self, options: dict[str, Any]) -> Any:
        with importing():
            import torch
            from vllm.engine.arg_utils import EngineArgs
            from vllm.v1.engine.llm_engine import LLMEngine

        lower_priority()  # only now: everything waits for the first engine to load
        # torch has read the environment long before, with what Ray sets there.
        torch.set_num_threads(self.settings.threads or usable_cores())
        return LLMEngine.from_engine_args(EngineArgs(**options))

    def _options(self, lora_rank: int, adapters: int) -> dict[str, Any]:
        options: dict[str, Any] = {
            "model": str(self.model_dir),
            "dtype": self.dtype,
            "max_model_len": self.max_length,
            "max_num_seqs": self.settings.max_num_seqs,
            "tensor_parallel_size": self.settings.tensor_parallel_size,
            # Weights change, and a prefix that an older version computed must not be reused.
            "enable_prefix_caching": False,
            "disable_log_stats": True,
            "skip_tokenizer_init": True,  # ids in, ids out
            "worker_extension_cls": "actors.generator.worker_extension.InPlaceWeights",
        }
        if self.settings.gpus == 0:
            options |= {
                "enforce_eager": True,
                "kv_cache_memory_bytes": int(self.settings.kv_cache_gib * 2**30),
                # A prompt prefilled in parts rewinds its seeded generator, which CPU generators
                # refuse.
                "enable_chunked_prefill": False,
                "max_num_batched_tokens": max(self.max_length, 2048),
            }
            if self.settings.tensor_parallel_size == 1:
                # A worker process of its own imports everything once more and is fed through a
                # queue on which the engine spins, for threads that are not bound anyway.
                options["distributed_executor_backend"] = UNIPROC
        else:
            options |= {"gpu_memory_utilization": self.settings.gpu_memory_utilization}
            if self.settings.transport == "nccl":
                options["weight_transfer_config"] = {"backend": "nccl"}
        if adapters:
            options |= {
                "enable_lora": True,
                "max_loras": adapters,
                "max_cpu_loras": adapters,
                "max_lora_rank": _allowed_rank(lora_rank),
            }
        return options

    def _count_step(self) -> None:
        self.steps += 1

    def _step_counter(self) -> Any:
        from vllm.v1.metrics.loggers import StatLoggerBase

        engine = self

        class StepCounter(StatLoggerBase):
            def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
                pass

            def record(
                self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any
            ) -> None:
                if iteration_stats is not None:
                    engine._count_step()

            def log_engine_initialized(self) -> None:
                pass

        return StepCounter

    def _set_cpu_environment(self) -> None:
        # vLLM's own thread binding sets one core aside, which on a small machine is half of them,
        # and pins threads to cores that the scorer and the learner also use.
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        os.environ["OMP_NUM_THREADS"] = str(self.settings.threads or usable_cores())
        # Only the ranks of log-probs would still be compiled, which takes two seconds and a C++
        # compiler.
        os.environ["TORCHDYNAMO_DISABLE"] = "1"

    async def sample(
        self, request_id: str, prompt_ids: list[int], sampling: Sampling, adapter: Any = None
    ) -> EngineOutput:
        """Sample one completion under ``adapter`` (see :meth:`load_adapter`) or the base weights.

        The end-of-turn token is part of the completion. Raises EngineDeadError when the engine has
        been given up.
        """
        self.raise_if_given_up()
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            logprobs=0,
            stop_token_ids=list(sampling.stop_token_ids),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        final = None
        async for output in self._engine.generate(
            {"prompt_token_ids": prompt_ids},
            parameters,
            request_id,
            lora_request=adapter,
        ):
            final = output.outputs[0]
        if final is None:
            raise RuntimeError(f"the engine ended request {request_id} without an answer")
        ids = list(final.token_ids)
        logprobs = [entry[token].logprob for entry, token in zip(final.logprobs, ids, strict=True)]
        return EngineOutput(ids, logprobs, str(final.finish_reason))

    async def prompt_logprobs(self, ids: list[int], adapter: Any = None) -> list[float]:
        """Log-probs that ``adapter`` or the base weights give to all ``ids`` but the first."""
        self._logprob_calls += 1
        name = f"logprobs/{self._logprob_calls}"
        # Each as the one token that may follow those before it: vLLM's own prompt log-probs end
        # the engine where it serves an adapter and samples other requests at the same time.
        places = range(1, len(ids))
        calls = (self._token_logprob(f"{name}/{n}", ids[:n], ids[n], adapter) for n in places)
        return list(await asyncio.gather(*calls))

    async def _token_logprob(
        self, request_id: str, prompt_ids: list[int], token: int, adapter: Any
    ) -> float:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            logprobs=0,
            allowed_token_ids=[token],
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        final: Any = None
        async for output in self._engine.generate(
            {"prompt_token_ids": prompt_ids}, parameters, request_id, lora_request=adapter
        ):
            final = output.outputs[0]
        if final is None:
            raise RuntimeError(f"the engine ended request {request_id} without an answer")
        return float(final.logprobs[0][token].logprob)

    async def load_adapter(self, name: str, folder: Path) -> Any:
        """Load an adapter under a new name; returns the handle that :meth:`sample` takes."""
        from vllm.lora.request import LoRARequest

        self._adapter_ids += 1
        adapter = LoRARequest(name, self._adapter_ids, str(folder))
        self._adding += 1
        try:
            if not await self._engine.add_lora(adapter):
                raise RuntimeError(f"the engine refused adapter {name}")
        finally:
            self._adding -= 1
        return adapter

    async def drop_adapter(self, adapter: Any) -> None:
        """Unload an adapter that no request uses."""
        await self._engine.remove_lora(adapter.lora_int_id)

    async def load_weights(self, folder: Path) -> None:
        """Replace all weights in place by those in ``folder``. The caller holds the engine."""
        await self._engine.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
        await self._engine.collective_rpc("repack_head")

    async def load_merged(self, folder: Path) -> None:
        """Replace weights in place by the base model's with the adapter in ``folder``, as PEFT
        writes it, merged into them. The caller holds the engine."""
        folders = {"base": str(self.model_dir), "adapter": str(folder)}
        await self._engine.collective_rpc("merge_adapter", kwargs=folders)

    async def transfer(self, step: str, info: dict[str, Any]) -> None:
        """One step of a broadcast (``actors/generator/nccl_broadcast.py``). From ``start`` on the
        engine is held; who takes what :meth:`arrived` releases it."""
        engine = self._engine
        with self.whole():
            if step == "init":
                from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

                await engine.init_weight_transfer_engine(WeightTransferInitRequest(init_info=info))
            elif step == "start":
                await self.hold()
                self._arrived = []
                await engine.start_weight_update()
            elif step == "update":
                self._arrived += await engine.collective_rpc(
                    "receive_checked", kwargs={"update_info": info}
                )
            elif step == "finish":
                await engine.finish_weight_update()
            elif step == "leave":
                await engine.shutdown_weight_transfer_engine()
            else:
                raise ValueError(f"a broadcast has no step {step!r}")

    def arrived(self) -> list[str]:
        """The ``TensorChecksum`` of what each worker received by the last broadcast."""
        return self._arrived

    @property
    def busy(self) -> bool:
        """Whether requests wait on purpose: somebody holds the engine, or it loads an adapter."""
        return self._holders > 0 or self._adding > 0

    async def hold(self) -> None:
        """Stop scheduling; requests in flight and new ones wait. Once as many have released the
        engine as held it, all go on together."""
        async with self._holding:
            if self._holders == 0:
                await self._engine.pause_generation(mode="keep", clear_cache=False)
            self._holders += 1

    async def release(self) -> None:
        """End one :meth:`hold`."""
        async with self._holding:
            self._holders -= 1
            if self._holders == 0:
                await self._engine.resume_generation()

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Give the engine up where the block, which changes its weights, does not end well: what
        they are then nobody knows."""
        try:
            yield
        except BaseException as error:
            self._failure = error
            raise

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Hold the engine for a block that changes its weights. Where that does not end well, the
        engine stays held: it samples nothing any more."""
        await self.hold()
        with self.whole():
            yield
        await self.release()

    def raise_if_given_up(self) -> None:
        """Raises EngineDeadError when a change of the weights has failed half way."""
        if self._failure is not None:
            raise EngineDeadError(
                f"the engine was given up, as its weights are in doubt: {self._failure!r}"
            ) from self._failure

    async def release_when_waiting(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Schedule again after :meth:`hold`, once all ``tasks`` have handed over their requests."""
        try:
            while self._engine.get_num_unfinished_requests() < len(tasks):
                if any(task.done() for task in tasks):  # refused; its error is its caller's
                    break
                await asyncio.sleep(0.005)
            # A request is counted just before it is sent; this lets the last one go out first.
            await asyncio.sleep(0.02)
        finally:
            await self.release()

    async def check(self) -> None:
        """Raise if the engine has died or was given up."""
        self.raise_if_given_up()
        await self._engine.check_health()

    def stop(self) -> None:
        """End the engine's processes."""
        if self._engine is not None:
            self._engine.shutdown()


def open_sender(
    client: Any, source: Any, address: str, port: int, world: int, buffer_bytes: int
) -> Any:
    """vLLM's sender of weights over NCCL, rank 0 of ``world``; its ``send_weights()`` gives what
    ``source`` holds then to all that ``client`` leads. Waits until all have joined."""
    from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

    info = NCCLTrainerInitInfo(
        rank=0,
        master_address=address,
        master_port=port,
        world_size=world,
        packed_buffer_size_bytes=buffer_bytes,
    )
    return WeightTransferTrainerFactory.trainer_init(info, client=client, source=source)


def _allowed_rank(rank: int) -> int:
    allowed = (1, 8, 16, 32, 64, 128, 256, 320, 512)
    return next(size for size in allowed if size >= rank)
