"""Greedy tokens by Optimum: `PYTHON optimum_greedy.py FOLDER IDS COUNT`, ids and answer as JSON."""

import json
import sys

import torch
from optimum.onnxruntime import ORTModelForCausalLM

folder, ids, count = sys.argv[1], torch.tensor([json.loads(sys.argv[2])]), int(sys.argv[3])
model = ORTModelForCausalLM.from_pretrained(folder)
out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count)
print(json.dumps(out[0, ids.shape[1] :].tolist()))
