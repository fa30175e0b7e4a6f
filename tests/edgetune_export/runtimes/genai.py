"""Greedy tokens by onnxruntime-genai: `PYTHON genai.py FOLDER IDS COUNT`, ids and answer as JSON."""

import json
import sys

import onnxruntime_genai

folder, ids, count = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
model = onnxruntime_genai.Model(folder)
parameters = onnxruntime_genai.GeneratorParams(model)
parameters.set_search_options(max_length=len(ids) + count)
generator = onnxruntime_genai.Generator(model, parameters)
generator.append_tokens(ids)
while not generator.is_done():
    generator.generate_next_token()
print(json.dumps([int(token) for token in generator.get_sequence(0)[len(ids) :]]))
