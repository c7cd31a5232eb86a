# Says what is missing before anything is installed. Usage: preflight.sh PYTHON
python=$1
if ! command -v "$python" >/dev/null 2>&1; then
    echo "error: $python was not found: install Python 3.11 or newer, or call make PYTHON=<path>" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $("$python" --version) is too old: install Python 3.11 or newer, or call make PYTHON=<path>" >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "error: $python cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2
    exit 1
fi
if ! command -v "${CXX:-c++}" >/dev/null 2>&1 && ! command -v g++ >/dev/null 2>&1 && ! command -v clang++ >/dev/null 2>&1; then
    echo "error: no C++ compiler was found: llama.cpp is built from source (Debian, Ubuntu: apt install g++)" >&2
    exit 1
fi
