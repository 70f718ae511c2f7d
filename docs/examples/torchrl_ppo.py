"""TorchRL's PPO: one score per item, masked. Needs ``pip install torchrl`` (run with 0.14.1)."""

import argparse

import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymEnv
from torchrl.modules import MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import metaal_env  # noqa: F401 (registers the environments)

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=20_000)
parser.add_argument("--env", default="MetaAL-Iris-v0")
args = parser.parse_args()

torch.manual_seed(0)
env = GymEnv(args.env, categorical_action_encoding=True)
item_size, pool_size = (env.observation_spec[key].shape[-1] for key in ("item_features", "pool_features"))
score = nn.Sequential(nn.Linear(item_size, 64), nn.Tanh(), nn.Linear(64, 1), nn.Flatten(-2))
actor = ProbabilisticActor(
    TensorDictModule(score, ["item_features"], ["logits"]),
    in_keys={"logits": "logits", "mask": "action_mask"},
    distribution_class=lambda logits, mask: MaskedCategorical(logits=logits, mask=mask.bool()),
    return_log_prob=True,
    spec=env.action_spec,
)
value = nn.Sequential(nn.Linear(pool_size, 64), nn.Tanh(), nn.Linear(64, 1))
critic = ValueOperator(value, in_keys=["pool_features"])
loss, advantage = ClipPPOLoss(actor, critic), GAE(gamma=1.0, lmbda=0.95, value_network=critic)
optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)

for batch in Collector(env, actor, frames_per_batch=min(320, args.steps), total_frames=args.steps):
    for _ in range(4):
        advantage(batch)
        losses = loss(batch.reshape(-1))
        optimizer.zero_grad()
        (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
        optimizer.step()
    ended, gained = batch["next", "done"].sum().item(), batch["next", "reward"].sum().item()
    print(
        f"{ended} episodes, area gained over the learning curve {gained / max(ended, 1):.3f} each", flush=True
    )
env.close()
