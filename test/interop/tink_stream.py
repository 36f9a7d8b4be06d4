"""Google Tink's own streaming AEAD over stdin and stdout: tink_stream.py encrypt|decrypt KEY_HEX ASSOCIATED_DATA"""

import io
import sys

import tink
from tink import secret_key_access
from tink import streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2
from tink.proto import common_pb2
from tink.proto import tink_pb2


def keyset_of(key: bytes) -> tink.KeysetHandle:
  template = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB
  ours = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
      version=0,
      key_value=key,
      params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
          ciphertext_segment_size=1024 * 1024,
          derived_key_size=32,
          hkdf_hash_type=common_pb2.SHA256,
      ),
  )
  theirs = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKeyFormat()
  theirs.ParseFromString(template.value)
  assert ours.params == theirs.params, 'the parameters are not those of AES256_GCM_HKDF_1MB'
  assert theirs.key_size == len(key)
  keyset = tink_pb2.Keyset(
      primary_key_id=1,
      key=[
          tink_pb2.Keyset.Key(
              key_id=1,
              status=tink_pb2.ENABLED,
              output_prefix_type=tink_pb2.RAW,
              key_data=tink_pb2.KeyData(
                  type_url=template.type_url,
                  value=ours.SerializeToString(),
                  key_material_type=tink_pb2.KeyData.SYMMETRIC,
              ),
          )
      ],
  )
  return tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)


class Unclosed(io.BytesIO):
  """Tink closes what it wrote to; the bytes are still wanted."""

  def close(self):
    pass


def main():
  direction, key, associated_data = sys.argv[1:]
  streaming_aead.register()
  primitive = keyset_of(bytes.fromhex(key)).primitive(streaming_aead.StreamingAead)
  data = sys.stdin.buffer.read()
  if direction == 'decrypt':
    with primitive.new_decrypting_stream(io.BytesIO(data), associated_data.encode()) as stream:
      sys.stdout.buffer.write(stream.read())
  else:
    out = Unclosed()
    with primitive.new_encrypting_stream(out, associated_data.encode()) as stream:
      stream.write(data)
    sys.stdout.buffer.write(out.getvalue())


main()
