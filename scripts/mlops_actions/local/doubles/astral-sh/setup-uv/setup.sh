# Stands for astral-sh/setup-uv: the uv of this machine, by its real path, on PATH.
set -eu
echo "double of astral-sh/setup-uv: the uv of this machine"
if [ -z "$MLOPS_LOCAL_UV" ]; then
  echo "::error::uv is not installed on this machine: python3 -m pip install uv"
  exit 1
fi
bin="$RUNNER_TEMP/setup-uv"
mkdir -p "$bin"
ln -sf "$MLOPS_LOCAL_UV" "$bin/uv"
ln -sf "$(dirname "$MLOPS_LOCAL_UV")/uvx" "$bin/uvx"
found=$("$bin/uv" --version | cut -d ' ' -f 2)
case "$VERSION" in
  "" | "$found") ;;
  *) echo "uv $VERSION was asked for; this machine has $found" ;;
esac
echo "$bin" >> "$GITHUB_PATH"
[ -z "$PYTHON" ] || echo "UV_PYTHON=$PYTHON" >> "$GITHUB_ENV"
{
  echo "uv-version=$found"
  echo "uv-path=$bin/uv"
  echo "uvx-path=$bin/uvx"
} >> "$GITHUB_OUTPUT"
