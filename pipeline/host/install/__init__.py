"""Install guests from media: repositories, virt-install, libvirt. What a recipe asks of an installer stays in
``steps``.
"""
