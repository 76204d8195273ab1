# Writes the commit into OUTPUT, which changes only when the commit does. Needs: SOURCE (the repository), INPUT, OUTPUT.
find_package(Git QUIET)
set(commit "unknown")
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} -C ${SOURCE} describe --always --dirty=-modified --abbrev=12 --match=v*
    OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
  if(status EQUAL 0)
    set(commit ${described})
  endif()
endif()
configure_file(${INPUT} ${OUTPUT} @ONLY)
