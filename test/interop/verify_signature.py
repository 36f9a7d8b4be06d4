"""Writes what a signature of backup.json is over, its value and its public key, for openssl: verify_signature.py FOLDER < backup.json"""

import base64
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
document = json.load(sys.stdin)
signature = document.pop('signature')
# RFC 8785 for documents of strings, integers, booleans and null with plain names.
canonical = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(',', ':'))
(folder / 'canonical').write_text(canonical, encoding='utf-8')
(folder / 'value').write_bytes(base64.b64decode(signature['value']))
# SubjectPublicKeyInfo of an Ed25519 key is this prefix and the raw key (RFC 8410).
prefix = bytes.fromhex('302a300506032b6570032100')
(folder / 'public.der').write_bytes(prefix + base64.b64decode(signature['publicKey']))
