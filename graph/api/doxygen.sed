# The headers' comments as Doxygen wants them: what stands before a declaration, and what stands after it on its line.
s|^\( *\)/\* |\1/** |
s|\([;,{]\)\( *\)/\* |\1\2/**< |
s|^\( *\)// |\1/// |
s|\([;,{]\)\( *\)// |\1\2///< |
