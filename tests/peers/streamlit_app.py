"""The smallest application whose answers all travel over its WebSocket, and that takes a file beside it."""

import streamlit as st

if "count" not in st.session_state:
    st.session_state.count = 0
if st.button("Count"):
    st.session_state.count += 1
st.markdown(f"Counted {st.session_state.count} times")
file = st.file_uploader("File")
if file:
    st.markdown(f"Read {file.getvalue().decode()}")
