# Included by CMake right after llama.cpp's own project() line
# (-DCMAKE_PROJECT_llama.cpp_INCLUDE=...). llama-cpp-python forces LLAMA_BUILD_COMMON on in the
# cache, but its Python package never loads that library: a plain variable shadows the cache entry
# and leaves out the common library, the chat-template engine and the server code.
set(LLAMA_BUILD_COMMON OFF)
